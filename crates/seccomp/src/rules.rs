//! What a profile says about one ABI: a table from call numbers to verdicts.

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxSeccomp;
use oci_spec::runtime::LinuxSeccompAction;
use oci_spec::runtime::LinuxSeccompArg;
use oci_spec::runtime::LinuxSeccompOperator;
use oci_spec::runtime::LinuxSyscall;

use crate::Error;
use crate::MAX_INSTRUCTIONS;
use crate::abi::ARM_PRIVATE;
use crate::abi::Abi;
use crate::asm::TOO_LONG;

/// A comparison of one argument.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Condition {
    /// 0 to 5.
    pub(crate) index: u32,
    pub(crate) test: Test,
    pub(crate) value: u64,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Test {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// The argument's bits of this mask are equal to the value.
    Masked(u64),
}

/// The return value if all conditions hold.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Rule {
    pub(crate) conditions: Vec<Condition>,
    pub(crate) action: u32,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Verdict {
    Always(u32),
    /// The first that matches, else the default action.
    FirstOf(Vec<Rule>),
}

pub(crate) struct Table {
    pub(crate) verdicts: BTreeMap<u32, Verdict>,
    /// What numbers without a verdict give.
    pub(crate) default: u32,
    /// The number above which calls are unknown to the profile's author, and what they give.
    pub(crate) newer: Option<(u32, u32)>,
}

const RET_ENOSYS: u32 = 0x0005_0000 | 38;
const MAX_ERRNO: u32 = 4095;
const MAX_TRACE: u32 = 0xffff;

/// The rules of `profile` for `abi`.
pub(crate) fn table(profile: &LinuxSeccomp, abi: Abi) -> Result<Table, Error> {
    let default_action = profile.default_action();
    let default = action(default_action, profile.default_errno_ret())?;
    let mut table = Table {
        verdicts: BTreeMap::new(),
        default,
        newer: None,
    };
    let mut last = None;
    for call in profile.syscalls().iter().flatten() {
        let action = action(call.action(), call.errno_ret())?;
        let alternatives = alternatives(call, abi)?;
        for name in call.names() {
            let Some(number) = abi.number(name) else {
                continue;
            };
            if number < ARM_PRIVATE || abi != Abi::Arm {
                last = last.max(Some(number));
            }
            if action == default {
                continue;
            }
            for conditions in &alternatives {
                table.add(number, conditions, action)?;
            }
            if let Some((multiplexer, value)) = abi.multiplexed(name)
                && (alternatives.iter().all(Vec::is_empty) || !is_permissive(call.action()))
            {
                let condition = Condition {
                    index: 0,
                    test: Test::Equal,
                    value,
                };
                table.add(multiplexer, &[condition], action)?;
            }
        }
    }
    if !is_permissive(default_action) {
        table.newer = last.map(|last| (last, RET_ENOSYS));
    }
    Ok(table)
}

impl Table {
    fn add(&mut self, number: u32, conditions: &[Condition], action: u32) -> Result<(), Error> {
        let verdict = self
            .verdicts
            .entry(number)
            .or_insert_with(|| Verdict::FirstOf(Vec::new()));
        let rules = match verdict {
            Verdict::Always(_) => return Ok(()),
            verdict if conditions.is_empty() => {
                *verdict = Verdict::Always(action);
                return Ok(());
            }
            Verdict::FirstOf(rules) => rules,
        };
        let rule = Rule {
            conditions: conditions.to_vec(),
            action,
        };
        if !rules.contains(&rule) {
            // Each takes more than one instruction.
            if rules.len() >= MAX_INSTRUCTIONS {
                return Err(TOO_LONG);
            }
            rules.push(rule);
        }
        Ok(())
    }
}

/// The sets of conditions of which one must hold in full.
fn alternatives(call: &LinuxSyscall, abi: Abi) -> Result<Vec<Vec<Condition>>, Error> {
    let args = call.args().as_deref().unwrap_or_default();
    let conditions = args
        .iter()
        .map(|arg| condition(arg, abi))
        .collect::<Result<Vec<_>, _>>()?;
    let repeated = conditions.iter().enumerate().any(|(i, condition)| {
        conditions
            .iter()
            .skip(i + 1)
            .any(|other| other.index == condition.index)
    });
    // libseccomp takes one condition per argument; runc makes rules of the others.
    Ok(match repeated {
        true => conditions.into_iter().map(|c| vec![c]).collect(),
        false => vec![conditions],
    })
}

fn condition(arg: &LinuxSeccompArg, abi: Abi) -> Result<Condition, Error> {
    let index = match u32::try_from(arg.index()) {
        Ok(index @ 0..=5) => index,
        _ => return Err(Error::ArgumentIndex(arg.index())),
    };
    let narrow = |value: u64| match abi.is_32_bit() {
        true => value & 0xffff_ffff,
        false => value,
    };
    let value = narrow(arg.value());
    let (test, value) = match arg.op() {
        LinuxSeccompOperator::ScmpCmpEq => (Test::Equal, value),
        LinuxSeccompOperator::ScmpCmpNe => (Test::NotEqual, value),
        LinuxSeccompOperator::ScmpCmpLt => (Test::Less, value),
        LinuxSeccompOperator::ScmpCmpLe => (Test::LessOrEqual, value),
        LinuxSeccompOperator::ScmpCmpGt => (Test::Greater, value),
        LinuxSeccompOperator::ScmpCmpGe => (Test::GreaterOrEqual, value),
        LinuxSeccompOperator::ScmpCmpMaskedEq => (
            Test::Masked(value),
            narrow(arg.value_two().unwrap_or_default()),
        ),
    };
    Ok(Condition { index, test, value })
}

/// Actions that let a call through, or leave it to a tracer.
fn is_permissive(action: LinuxSeccompAction) -> bool {
    matches!(
        action,
        LinuxSeccompAction::ScmpActAllow
            | LinuxSeccompAction::ScmpActLog
            | LinuxSeccompAction::ScmpActTrace
    )
}

/// The return value of a filter for an action.
fn action(action: LinuxSeccompAction, number: Option<u32>) -> Result<u32, Error> {
    let bounded = |default: u32, max: u32| match number.unwrap_or(default) {
        value if value > max => Err(Error::ErrnoRange { value, max }),
        value => Ok(value),
    };
    let value = match action {
        // Without a number: EPERM.
        LinuxSeccompAction::ScmpActErrno => return Ok(0x0005_0000 | bounded(1, MAX_ERRNO)?),
        LinuxSeccompAction::ScmpActTrace => return Ok(0x7ff0_0000 | bounded(1, MAX_TRACE)?),
        LinuxSeccompAction::ScmpActNotify => {
            return Err(Error::NotifyUnsupported("SCMP_ACT_NOTIFY"));
        }
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => 0,
        LinuxSeccompAction::ScmpActKillProcess => 0x8000_0000,
        LinuxSeccompAction::ScmpActTrap => 0x0003_0000,
        LinuxSeccompAction::ScmpActLog => 0x7ffc_0000,
        LinuxSeccompAction::ScmpActAllow => 0x7fff_0000,
    };
    match number {
        None => Ok(value),
        Some(_) => Err(Error::ErrnoUnused(action.to_string())),
    }
}
