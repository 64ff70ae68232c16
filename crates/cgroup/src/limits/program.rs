//! Device rules as a program for `BPF_PROG_TYPE_CGROUP_DEVICE`.
//!
//! The rules are looked at from the last to the first. Register 3 holds the kinds of access that no
//! rule has decided yet: a rule that allows takes its own away, and allows when none is left; a
//! rule that denies denies when any of its own is there.

use super::devices::ALL;
use super::devices::Kind;
use super::devices::Rule;
use crate::sys::Instruction;

// Operations (Linux: Documentation/bpf/standardization/instruction-set.rst). All are 32 bits wide.
const LOAD: u8 = 0x61;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const SET: u8 = 0xb4;
const COPY: u8 = 0xbc;
const JUMP_EQUAL: u8 = 0x16;
const JUMP_NOT_EQUAL: u8 = 0x56;
const EXIT: u8 = 0x95;

// Registers: 0 is the result, 1 points to the request (`struct bpf_cgroup_dev_ctx`).
const RESULT: u8 = 0;
const REQUEST: u8 = 1;
const KIND: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// `BPF_DEVCG_DEV_*`
fn kind_number(kind: Kind) -> u32 {
    match kind {
        Kind::Block => 1,
        Kind::Char => 2,
    }
}

pub(super) fn compile(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        load(KIND, 0),
        operation(AND, KIND, 0xffff),
        load(ACCESS, 0),
        operation(SHIFT_RIGHT, ACCESS, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in rules.iter().rev() {
        program.extend(block(rule));
        if rule.is_total() {
            break;
        }
    }
    program.extend(answer(false));
    program
}

fn block(rule: &Rule) -> Vec<Instruction> {
    let tests = [
        (KIND, rule.kind.map(kind_number)),
        (MAJOR, rule.major),
        (MINOR, rule.minor),
    ];
    let access = u32::from(rule.access);
    let mut decide = match rule.allow {
        true => vec![
            operation(AND, ACCESS, u32::from(ALL) & !access),
            jump(JUMP_NOT_EQUAL, ACCESS, 0, 2),
        ],
        false => vec![
            Instruction {
                registers: ACCESS << 4 | RESULT,
                ..operation(COPY, RESULT, 0)
            },
            operation(AND, RESULT, access),
            jump(JUMP_EQUAL, RESULT, 0, 2),
        ],
    };
    decide.extend(answer(rule.allow));
    let mut code = Vec::new();
    for (register, number) in tests.into_iter().rev() {
        if let Some(number) = number {
            let over = i16::try_from(decide.len() + code.len()).unwrap_or(i16::MAX);
            code.insert(0, jump(JUMP_NOT_EQUAL, register, number, over));
        }
    }
    code.extend(decide);
    code
}

fn answer(allow: bool) -> [Instruction; 2] {
    [
        operation(SET, RESULT, u32::from(allow)),
        operation(EXIT, 0, 0),
    ]
}

fn load(register: u8, offset: i16) -> Instruction {
    Instruction {
        registers: REQUEST << 4 | register,
        offset,
        ..operation(LOAD, 0, 0)
    }
}

fn operation(code: u8, register: u8, operand: u32) -> Instruction {
    Instruction {
        code,
        registers: register,
        offset: 0,
        operand,
    }
}

fn jump(code: u8, register: u8, operand: u32, over: i16) -> Instruction {
    Instruction {
        offset: over,
        ..operation(code, register, operand)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn run(program: &[Instruction], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        let request = [u32::from(access) << 16 | kind_number(kind), major, minor];
        let mut registers = [0_u32; 6];
        let mut at = 0;
        loop {
            let Instruction {
                code,
                registers: r,
                offset,
                operand,
            } = program[at];
            let (to, from) = (usize::from(r & 15), usize::from(r >> 4));
            at += 1;
            match code {
                LOAD => registers[to] = request[offset as usize / 4],
                AND => registers[to] &= operand,
                SHIFT_RIGHT => registers[to] >>= operand,
                SET => registers[to] = operand,
                COPY => registers[to] = registers[from],
                JUMP_EQUAL if registers[to] == operand => at += offset as usize,
                JUMP_NOT_EQUAL if registers[to] != operand => at += offset as usize,
                JUMP_EQUAL | JUMP_NOT_EQUAL => {}
                EXIT => return registers[0] != 0,
                _ => panic!("{code:#x}"),
            }
        }
    }

    fn direct(rules: &[Rule], kind: Kind, major: u32, minor: u32, access: u8) -> bool {
        [1, 2, 4]
            .iter()
            .filter(|&&bit| access & bit != 0)
            .all(|&bit| {
                let last = rules.iter().rev().find(|rule| {
                    rule.access & bit != 0
                        && rule.kind.is_none_or(|other| other == kind)
                        && rule.major.is_none_or(|other| other == major)
                        && rule.minor.is_none_or(|other| other == minor)
                });
                last.is_some_and(|rule| rule.allow)
            })
    }

    fn kinds() -> impl Strategy<Value = Kind> {
        prop::sample::select(vec![Kind::Block, Kind::Char])
    }

    prop_compose! {
        fn rule()(
            allow in any::<bool>(),
            kind in prop::option::of(kinds()),
            major in prop::option::of(0..3_u32),
            minor in prop::option::of(prop::sample::select(vec![0, 1, u32::MAX])),
            access in 1..=7_u8,
        ) -> Rule {
            Rule { allow, kind, major, minor, access }
        }
    }

    proptest! {
        #[test]
        fn the_last_rule_counts(rules in prop::collection::vec(rule(), 0..12)) {
            let program = compile(&rules);
            for kind in [Kind::Block, Kind::Char] {
                for major in 0..4 {
                    for minor in [0, 1, 2, u32::MAX] {
                        for access in 1..=7 {
                            prop_assert_eq!(
                                run(&program, kind, major, minor, access),
                                direct(&rules, kind, major, minor, access),
                                "{:?} {} {} {}", kind, major, minor, access
                            );
                        }
                    }
                }
            }
        }
    }
}
