//! An assembler for the classic BPF that seccomp takes.
//!
//! Programs are written from their end to their start: every jump goes forward, so its target is
//! already there and its distance known. Conditional jumps reach 255 instructions; where that
//! doesn't do, a return is repeated or an unconditional jump put in between.

use std::collections::HashMap;

use crate::Error;
use crate::Instruction;
use crate::MAX_INSTRUCTIONS;

const LD_W_ABS: u16 = 0x20;
const ALU_AND_K: u16 = 0x54;
const JMP_JA: u16 = 0x05;
const RET_K: u16 = 0x06;

/// The furthest that a conditional jump goes.
const REACH: usize = 255;

/// A comparison of the accumulator with a constant.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u16)]
pub(crate) enum Jump {
    Equal = 0x15,
    Greater = 0x25,
    GreaterOrEqual = 0x35,
}

/// Where to go on.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Target {
    /// An instruction that is already written, counted from the program's end.
    Label(usize),
    /// Return this value (`SECCOMP_RET_*`).
    Return(u32),
}

#[derive(Default)]
pub(crate) struct Assembler {
    /// Instructions, last one first.
    reversed: Vec<Instruction>,
    /// The latest (so nearest) return of each value.
    returns: HashMap<u32, usize>,
}

impl Assembler {
    /// `if A <jump> k goto yes else no`.
    pub(crate) fn branch(
        &mut self,
        jump: Jump,
        k: u32,
        yes: Target,
        no: Target,
    ) -> Result<Target, Error> {
        if yes == no {
            return Ok(yes);
        }
        // Making `no` reachable may write one more instruction, which moves `yes` one away.
        let yes = self.reachable(yes, REACH - 1)?;
        let no = self.reachable(no, REACH)?;
        let (jt, jf) = (self.short(yes)?, self.short(no)?);
        let code = jump as u16;
        self.push(Instruction { code, jt, jf, k })
    }

    /// Loads the 32-bit word at `offset` of `seccomp_data`, then goes on at `next`.
    pub(crate) fn load(&mut self, offset: u32, next: Target) -> Result<Target, Error> {
        self.before(next, LD_W_ABS, offset)
    }

    /// `A &= mask`, then goes on at `next`.
    pub(crate) fn and(&mut self, mask: u32, next: Target) -> Result<Target, Error> {
        self.before(next, ALU_AND_K, mask)
    }

    /// The program that starts at `start`.
    pub(crate) fn finish(mut self, start: Target) -> Result<Vec<Instruction>, Error> {
        self.adjacent(start)?;
        self.reversed.reverse();
        Ok(self.reversed)
    }

    fn before(&mut self, next: Target, code: u16, k: u32) -> Result<Target, Error> {
        self.adjacent(next)?;
        self.push(Instruction {
            code,
            jt: 0,
            jf: 0,
            k,
        })
    }

    /// Makes `target` the instruction written last.
    fn adjacent(&mut self, target: Target) -> Result<(), Error> {
        let label = self.reachable(target, 0)?;
        if label + 1 != self.reversed.len() {
            self.jump(label)?;
        }
        Ok(())
    }

    /// A label for `target` that the next instruction reaches by skipping at most `reach` others.
    fn reachable(&mut self, target: Target, reach: usize) -> Result<usize, Error> {
        let near = |len: usize, label: usize| len - 1 - label <= reach;
        match target {
            Target::Label(label) if near(self.reversed.len(), label) => Ok(label),
            Target::Label(label) => self.jump(label),
            Target::Return(k) => match self.returns.get(&k) {
                Some(&label) if near(self.reversed.len(), label) => Ok(label),
                _ => {
                    self.push(Instruction {
                        code: RET_K,
                        jt: 0,
                        jf: 0,
                        k,
                    })?;
                    let label = self.reversed.len() - 1;
                    self.returns.insert(k, label);
                    Ok(label)
                }
            },
        }
    }

    fn jump(&mut self, label: usize) -> Result<usize, Error> {
        let k = u32::try_from(self.reversed.len() - 1 - label).map_err(|_| TOO_LONG)?;
        self.push(Instruction {
            code: JMP_JA,
            jt: 0,
            jf: 0,
            k,
        })?;
        Ok(self.reversed.len() - 1)
    }

    fn short(&self, label: usize) -> Result<u8, Error> {
        u8::try_from(self.reversed.len() - 1 - label).map_err(|_| TOO_LONG)
    }

    fn push(&mut self, instruction: Instruction) -> Result<Target, Error> {
        if self.reversed.len() >= MAX_INSTRUCTIONS {
            return Err(TOO_LONG);
        }
        self.reversed.push(instruction);
        Ok(Target::Label(self.reversed.len() - 1))
    }
}

/// What a program that doesn't fit is refused with.
pub(crate) const TOO_LONG: Error = Error::TooLong {
    max: MAX_INSTRUCTIONS,
};
