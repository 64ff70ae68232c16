//! An interpreter of the BPF that seccomp accepts; it panics where the kernel would refuse.

use coracle_seccomp::Instruction;

/// `struct seccomp_data`.
#[derive(Debug)]
pub(crate) struct Data {
    pub(crate) number: u32,
    pub(crate) arch: u32,
    pub(crate) args: [u64; 6],
}

impl Data {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.arch,
            16..64 if offset.is_multiple_of(4) => {
                let arg = self.args[(offset as usize - 16) / 8];
                if offset.is_multiple_of(8) {
                    arg as u32
                } else {
                    (arg >> 32) as u32
                }
            }
            _ => panic!("load at {offset}"),
        }
    }
}

/// The program's return value and the number of instructions it took.
pub(crate) fn run(program: &[Instruction], data: &Data) -> (u32, usize) {
    assert!(!program.is_empty() && program.len() <= 4096);
    let (mut a, mut at) = (0, 0);
    for steps in 1.. {
        let Instruction { code, jt, jf, k } = program[at];
        at += 1;
        let mut jump = |holds| at += usize::from(if holds { jt } else { jf });
        match code {
            0x20 => a = data.word(k),
            0x54 => a &= k,
            0x05 => at += k as usize,
            0x15 => jump(a == k),
            0x25 => jump(a > k),
            0x35 => jump(a >= k),
            0x06 => return (k, steps),
            _ => panic!("code {code:#x}"),
        }
    }
    unreachable!()
}
