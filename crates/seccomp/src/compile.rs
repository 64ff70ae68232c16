//! From tables of verdicts to one BPF program.
//!
//! The program dispatches on the ABI, then walks a balanced tree of comparisons over the ranges of
//! call numbers that share a verdict, then, for the few calls whose arguments matter, a chain of
//! comparisons.

use std::collections::HashMap;

use oci_spec::runtime::LinuxSeccomp;
use oci_spec::runtime::LinuxSeccompFilterFlag;

use crate::Error;
use crate::Machine;
use crate::Program;
use crate::abi::Abi;
use crate::abi::X32_BIT;
use crate::asm::Assembler;
use crate::asm::Jump;
use crate::asm::Target;
use crate::rules::Condition;
use crate::rules::Rule;
use crate::rules::Table;
use crate::rules::Test;
use crate::rules::Verdict;
use crate::rules::table;

/// What a call by an ABI that the profile doesn't list gives.
const RET_KILL_PROCESS: u32 = 0x8000_0000;

// Offsets in `struct seccomp_data`; arguments are little endian on every machine that we have.
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCH: u32 = 4;
const OFFSET_ARGS: u32 = 16;

/// Compiles a profile for the machine that this runs on.
///
/// # Errors
/// Any [`Error`] about what the profile asks for; see the crate's page for the rules.
pub fn compile(profile: &LinuxSeccomp) -> Result<Program, Error> {
    compile_for(profile, Machine::host()?)
}

/// Compiles a profile for `machine`.
///
/// # Errors
/// As [`compile`].
pub fn compile_for(profile: &LinuxSeccomp, machine: Machine) -> Result<Program, Error> {
    if profile
        .listener_path()
        .as_ref()
        .is_some_and(|path| !path.as_os_str().is_empty())
    {
        return Err(Error::NotifyUnsupported("listenerPath"));
    }
    let flags = flags(profile)?;
    let mut compiler = Compiler::default();
    let mut sections: Vec<(u32, Target)> = Vec::new();
    for (audit_arch, ranges) in compiler.sections(profile, machine)? {
        let tree = compiler.tree(&ranges)?;
        let start = compiler.asm.load(OFFSET_NUMBER, tree)?;
        sections.push((audit_arch, start));
    }
    let mut next = Target::Return(RET_KILL_PROCESS);
    for &(audit_arch, section) in sections.iter().rev() {
        next = compiler
            .asm
            .branch(Jump::Equal, audit_arch, section, next)?;
    }
    let start = compiler.asm.load(OFFSET_ARCH, next)?;
    Ok(Program {
        filter: compiler.asm.finish(start)?,
        flags,
    })
}

fn flags(profile: &LinuxSeccomp) -> Result<u32, Error> {
    // Without a list, runc asks for SPEC_ALLOW, which is what newer kernels do anyway.
    let Some(list) = profile.flags() else {
        return Ok(4);
    };
    list.iter().try_fold(0, |flags, flag| match flag {
        LinuxSeccompFilterFlag::SeccompFilterFlagTsync => Ok(flags | 1),
        LinuxSeccompFilterFlag::SeccompFilterFlagLog => Ok(flags | 2),
        LinuxSeccompFilterFlag::SeccompFilterFlagSpecAllow => Ok(flags | 4),
        LinuxSeccompFilterFlag::SeccompFilterFlagWaitKillableRecv => Err(Error::NotifyUnsupported(
            "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        )),
    })
}

/// Ranges of call numbers: each starts at its number and ends where the next starts.
type Ranges = Vec<(u32, Target)>;

#[derive(Default)]
struct Compiler {
    asm: Assembler,
    /// Chains that are written already, by their rules, what follows and the width of arguments.
    chains: HashMap<(Vec<Rule>, u32, bool), Target>,
}

impl Compiler {
    /// The ranges of each audit architecture, the native one first.
    fn sections(
        &mut self,
        profile: &LinuxSeccomp,
        machine: Machine,
    ) -> Result<Vec<(u32, Ranges)>, Error> {
        let mut abis = vec![machine.native()];
        for &arch in profile.architectures().iter().flatten() {
            if let Some(abi) = machine.abi(arch)
                && !abis.contains(&abi)
            {
                abis.push(abi);
            }
        }
        let x32 = abis.contains(&Abi::X32);
        let mut sections = Vec::new();
        for abi in abis.into_iter().filter(|&abi| abi != Abi::X32) {
            let table = table(profile, abi)?;
            let mut ranges = self.ranges(&table, abi, 0)?;
            if abi == Abi::X86_64 && x32 {
                let table = crate::rules::table(profile, Abi::X32)?;
                ranges.extend(self.ranges(&table, Abi::X32, X32_BIT)?);
            } else if abi == Abi::X86_64 {
                let (_, rest) = ranges.last().copied().unwrap_or((0, KILL));
                // -1 isn't x32, but a tracer's way to skip a call.
                ranges.extend([(X32_BIT, KILL), (u32::MAX, rest)]);
            }
            ranges.dedup_by_key(|&mut (_, target)| target);
            sections.push((abi.audit_arch(), ranges));
        }
        Ok(sections)
    }

    fn ranges(&mut self, table: &Table, abi: Abi, first: u32) -> Result<Ranges, Error> {
        let default = Target::Return(table.default);
        let mut newer = table
            .newer
            .map(|(last, action)| (last.saturating_add(1), Target::Return(action)));
        let mut ranges = vec![(first, default)];
        let mut gap = default;
        for (&number, verdict) in &table.verdicts {
            if let Some((start, target)) = newer
                && number >= start
            {
                push(&mut ranges, start, target);
                (gap, newer) = (target, None);
            }
            let target = match verdict {
                Verdict::Always(action) => Target::Return(*action),
                Verdict::FirstOf(rules) => self.chain(rules, table.default, abi.is_32_bit())?,
            };
            push(&mut ranges, number, target);
            push(&mut ranges, number.saturating_add(1), gap);
        }
        if let Some((start, target)) = newer {
            push(&mut ranges, start, target);
        }
        Ok(ranges)
    }

    /// Comparisons that find the range of the number in the accumulator.
    fn tree(&mut self, ranges: &[(u32, Target)]) -> Result<Target, Error> {
        match *ranges {
            [] => Ok(KILL),
            [(_, target)] => Ok(target),
            [(_, around), (number, target), (next, after)]
                if around == after && Some(next) == number.checked_add(1) =>
            {
                self.asm.branch(Jump::Equal, number, target, around)
            }
            _ => {
                let (low, high) = ranges.split_at(ranges.len() / 2);
                let start = high.first().map_or(0, |&(start, _)| start);
                let high = self.tree(high)?;
                let low = self.tree(low)?;
                self.asm.branch(Jump::GreaterOrEqual, start, high, low)
            }
        }
    }

    /// Rules in order, the default action after them.
    fn chain(&mut self, rules: &[Rule], default: u32, narrow: bool) -> Result<Target, Error> {
        let key = (rules.to_vec(), default, narrow);
        if let Some(&target) = self.chains.get(&key) {
            return Ok(target);
        }
        let mut next = Target::Return(default);
        for rule in rules.iter().rev() {
            let mut target = Target::Return(rule.action);
            for condition in rule.conditions.iter().rev() {
                target = self.condition(condition, narrow, target, next)?;
            }
            next = target;
        }
        self.chains.insert(key, next);
        Ok(next)
    }

    fn condition(
        &mut self,
        condition: &Condition,
        narrow: bool,
        yes: Target,
        no: Target,
    ) -> Result<Target, Error> {
        let low = OFFSET_ARGS + 8 * condition.index;
        let high = (!narrow).then_some(low + 4);
        let value = condition.value;
        match condition.test {
            Test::Equal => self.equal(low, high, u64::MAX, value, yes, no),
            Test::NotEqual => self.equal(low, high, u64::MAX, value, no, yes),
            Test::Masked(mask) => self.equal(low, high, mask, value, yes, no),
            Test::Greater => self.greater(low, high, Jump::Greater, value, yes, no),
            Test::LessOrEqual => self.greater(low, high, Jump::Greater, value, no, yes),
            Test::GreaterOrEqual => self.greater(low, high, Jump::GreaterOrEqual, value, yes, no),
            Test::Less => self.greater(low, high, Jump::GreaterOrEqual, value, no, yes),
        }
    }

    fn equal(
        &mut self,
        low: u32,
        high: Option<u32>,
        mask: u64,
        value: u64,
        yes: Target,
        no: Target,
    ) -> Result<Target, Error> {
        let mut word = |offset, mask, value, yes| {
            let mut target = self.asm.branch(Jump::Equal, value, yes, no)?;
            if mask != u32::MAX {
                target = self.asm.and(mask, target)?;
            }
            self.asm.load(offset, target)
        };
        let (mask_high, mask_low) = halves(mask);
        let (value_high, value_low) = halves(value);
        let target = word(low, mask_low, value_low, yes)?;
        match high {
            Some(high) => word(high, mask_high, value_high, target),
            None => Ok(target),
        }
    }

    /// `jump` is [`Jump::Greater`] or [`Jump::GreaterOrEqual`].
    fn greater(
        &mut self,
        low: u32,
        high: Option<u32>,
        jump: Jump,
        value: u64,
        yes: Target,
        no: Target,
    ) -> Result<Target, Error> {
        let (value_high, value_low) = halves(value);
        let target = self.asm.branch(jump, value_low, yes, no)?;
        let target = self.asm.load(low, target)?;
        let Some(high) = high else {
            return Ok(target);
        };
        let target = self.asm.branch(Jump::Equal, value_high, target, no)?;
        let target = self.asm.branch(Jump::Greater, value_high, yes, target)?;
        self.asm.load(high, target)
    }
}

const KILL: Target = Target::Return(RET_KILL_PROCESS);

/// Starts a range; a range that would start at the same number is replaced.
fn push(ranges: &mut Ranges, start: u32, target: Target) {
    match ranges.last_mut() {
        Some(last) if last.0 == start => last.1 = target,
        _ => ranges.push((start, target)),
    }
}

fn halves(value: u64) -> (u32, u32) {
    ((value >> 32) as u32, value as u32)
}
