//! How the machine's memory is given to QEMU.
//!
//! QEMU opens a memory file by its path, for writing, even to map it privately; and when a guest
//! gives pages back, it punches holes into that file, which for a clone is the template's. Neither
//! is what we want. So a system call filter asks the caller about every plain opening for reading
//! and writing: to the one of [`RAM_PATH`] it answers with a descriptor of its own choice,
//! read-only for clones ([`crate::spawn`] does the answering). And it makes the punching of holes
//! into that descriptor do nothing; QEMU's `madvise` that follows gives the pages back all the same.

use std::os::fd::{OwnedFd, RawFd};

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W, sock_filter,
};
use serde::{Deserialize, Serialize};

use super::{Doing, Step};
use crate::sys;

/// The memory's name: nothing is there.
pub(crate) const RAM_PATH: &str = "/coracle/ram";

/// The memory's number in the VMM's process: above what it opens before, below any limit.
pub(crate) const RAM_FD: RawFd = 250;

/// Where the machine's memory comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ram {
    /// Nowhere: it is the VMM's own.
    Anonymous,
    /// A descriptor, mapped and shared.
    Shared,
    /// A descriptor that is mapped privately and must not be changed.
    Private,
}

/// `FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE`.
const PUNCH_HOLE: u32 = 3;

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Installs the filter, if the memory needs one; its listener.
pub(super) fn install(ram: Ram) -> Step<Option<OwnedFd>> {
    if ram == Ram::Anonymous {
        return Ok(None);
    }
    sys::install_filter(&mut program(ram == Ram::Private))
        .map(Some)
        .doing("install the filter that gives the machine its memory")
}

/// The position of the path among the arguments of `openat`.
pub(crate) const OPENAT_PATH: usize = 1;

fn program(keep: bool) -> Vec<sock_filter> {
    // Offsets in `struct seccomp_data`; both architectures are little-endian.
    const NUMBER: u32 = 0;
    const ARCH: u32 = 4;
    let argument = |index: u32| 16 + 8 * index;
    let load = |offset| statement(BPF_LD | BPF_W | BPF_ABS, offset);
    let answer = |value| statement(BPF_RET | BPF_K, value);
    let allow = libc::SECCOMP_RET_ALLOW;
    let punching = if keep { libc::SECCOMP_RET_ERRNO } else { allow };
    vec![
        load(ARCH),
        jump(ARCHITECTURE, 1, 0),
        answer(allow),
        load(NUMBER),
        // To the openings, to the punching of holes, or out.
        jump(libc::SYS_openat as u32, 2, 0),
        jump(libc::SYS_fallocate as u32, 6, 0),
        answer(allow),
        // Openings.
        load(argument(2)),
        statement(
            BPF_ALU | BPF_AND | BPF_K,
            (libc::O_ACCMODE | libc::O_CREAT) as u32,
        ),
        jump(libc::O_RDWR as u32, 0, 1),
        answer(libc::SECCOMP_RET_USER_NOTIF),
        answer(allow),
        // The punching of holes.
        load(argument(0)),
        jump(RAM_FD as u32, 0, 3),
        load(argument(1)),
        jump(PUNCH_HOLE, 0, 1),
        answer(punching),
        answer(allow),
    ]
}

fn statement(code: u32, k: u32) -> sock_filter {
    sock_filter {
        code: code as u16,
        jt: 0,
        jf: 0,
        k,
    }
}

fn jump(k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter {
        code: (BPF_JMP | BPF_JEQ | BPF_K) as u16,
        jt,
        jf,
        k,
    }
}
