//! Seccomp profiles compiled to BPF filters.
//!
//! Owns: the syscall numbers of each ABI, Docker's default profile ([`default_profile`]), Docker's
//! profile file format ([`parse_profile`]), and the compiler from the OCI runtime specification's
//! `linux.seccomp` to one BPF program ([`compile()`]).
//!
//! Must not know: containers, processes, or when a filter is loaded. [`Program::load`] is there
//! for whoever does; it neither allocates nor sets `no_new_privs`.
//!
//! What a compiled program decides, where the specification leaves it open, is what runc with
//! libseccomp decides:
//!
//! * The kernel's native ABI is always covered, listed or not; of the listed ones, those that this
//!   kernel family can't run are passed over. A call by an ABI that isn't covered kills the
//!   process.
//! * Names that an ABI doesn't have are skipped (profiles name calls of all architectures).
//!   Unknown actions and operators are errors.
//! * Of several rules for one call, the first one without arguments decides alone; else the first
//!   one whose arguments all match; else the default action. Rules that only repeat the default
//!   action are ignored. A rule that names one argument index twice is split into alternatives.
//! * With a default action that refuses, calls newer than every call in the profile (by number)
//!   give `ENOSYS`, so that C libraries fall back instead of failing.
//! * On 32-bit ABIs arguments are compared by their low 32 bits. On x86, rules for socket and
//!   System V IPC calls hold for `socketcall` and `ipc` as well; there, arguments are behind a
//!   pointer, so a rule with arguments is carried over (without them) only when it refuses.
//!
//! Invariants: a program has at most [`MAX_INSTRUCTIONS`] instructions, every jump goes forward
//! and stays inside, and every path ends in a return.

mod abi;
mod asm;
mod compile;
mod error;
mod profile;
mod rules;
mod sys;

pub use abi::Machine;
pub use compile::compile;
pub use compile::compile_for;
pub use error::Error;
pub use profile::MAX_PROFILE_SIZE;
pub use profile::default_profile;
pub use profile::parse_profile;

/// The kernel's limit on the length of one program (`BPF_MAXINSNS`).
pub const MAX_INSTRUCTIONS: usize = 4096;

/// One classic BPF instruction, laid out as the kernel's `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if a comparison holds.
    pub jt: u8,
    /// Instructions to skip if it doesn't.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

/// A compiled filter, ready for `seccomp(2)`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Program {
    /// The instructions, at most [`MAX_INSTRUCTIONS`].
    pub filter: Vec<Instruction>,
    /// `SECCOMP_FILTER_FLAG_*` bits for `seccomp(2)`.
    pub flags: u32,
}

impl Program {
    /// The program of [`Program::words`] and its flags.
    #[must_use]
    pub fn from_words(flags: u32, words: &[u64]) -> Program {
        let unpack = |word: &u64| Instruction {
            code: (word >> 48) as u16,
            jt: (word >> 40) as u8,
            jf: (word >> 32) as u8,
            k: *word as u32,
        };
        Program {
            filter: words.iter().map(unpack).collect(),
            flags,
        }
    }

    /// Every instruction packed into one number, to be sent elsewhere.
    #[must_use]
    pub fn words(&self) -> Vec<u64> {
        let pack = |i: &Instruction| {
            u64::from(i.code) << 48 | u64::from(i.jt) << 40 | u64::from(i.jf) << 32 | u64::from(i.k)
        };
        self.filter.iter().map(pack).collect()
    }

    /// Loads the filter into the calling thread (all threads, if the profile asks for `TSYNC`).
    ///
    /// The thread needs `no_new_privs` or `CAP_SYS_ADMIN` in its user namespace. Safe to call
    /// between fork and exec: one system call, no allocation.
    ///
    /// # Errors
    /// What `seccomp(2)` answers: `EACCES` without the privilege, `EINVAL` for flags that the
    /// kernel doesn't know, `ESRCH` where `TSYNC` fails.
    pub fn load(&self) -> std::io::Result<()> {
        sys::load(&self.filter, self.flags)
    }
}
