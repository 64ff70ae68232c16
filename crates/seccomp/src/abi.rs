//! The system call ABIs: their audit numbers, and system call names to numbers.

use std::str::FromStr;

use oci_spec::runtime::Arch;

use crate::Error;

/// A kernel family with the ABIs that it runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Machine {
    /// x86_64, with x86 and x32.
    X86_64,
    /// aarch64, with 32-bit ARM (EABI).
    Aarch64,
}

impl Machine {
    /// The machine that this code runs on.
    ///
    /// # Errors
    /// [`Error::UnsupportedMachine`] where there are no tables for it.
    pub fn host() -> Result<Machine, Error> {
        match std::env::consts::ARCH {
            "x86_64" => Ok(Machine::X86_64),
            "aarch64" => Ok(Machine::Aarch64),
            other => Err(Error::UnsupportedMachine(other)),
        }
    }

    /// The name that Docker's profiles use in `includes.arches` (Go's).
    pub(crate) fn docker_name(self) -> &'static str {
        match self {
            Machine::X86_64 => "amd64",
            Machine::Aarch64 => "arm64",
        }
    }

    /// The name that libseccomp uses.
    pub(crate) fn arch(self) -> Arch {
        match self {
            Machine::X86_64 => Arch::ScmpArchX86_64,
            Machine::Aarch64 => Arch::ScmpArchAarch64,
        }
    }

    /// The native ABI.
    pub(crate) fn native(self) -> Abi {
        match self {
            Machine::X86_64 => Abi::X86_64,
            Machine::Aarch64 => Abi::Aarch64,
        }
    }

    /// The ABI behind a profile's architecture, none if this machine doesn't run it.
    pub(crate) fn abi(self, arch: Arch) -> Option<Abi> {
        match (self, arch) {
            (_, Arch::ScmpArchNative) => Some(self.native()),
            (Machine::X86_64, Arch::ScmpArchX86_64) => Some(Abi::X86_64),
            (Machine::X86_64, Arch::ScmpArchX86) => Some(Abi::X86),
            (Machine::X86_64, Arch::ScmpArchX32) => Some(Abi::X32),
            (Machine::Aarch64, Arch::ScmpArchAarch64) => Some(Abi::Aarch64),
            (Machine::Aarch64, Arch::ScmpArchArm) => Some(Abi::Arm),
            _ => None,
        }
    }
}

/// Set in the number of every x32 call (`__X32_SYSCALL_BIT`).
pub(crate) const X32_BIT: u32 = 0x4000_0000;

/// One way to call the kernel.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Abi {
    X86_64,
    X86,
    /// 32-bit pointers in x86_64's long mode: the audit number of x86_64, the numbers with
    /// [`X32_BIT`].
    X32,
    Aarch64,
    Arm,
}

impl Abi {
    /// `AUDIT_ARCH_*` of `linux/audit.h`, as in `seccomp_data.arch`.
    pub(crate) fn audit_arch(self) -> u32 {
        match self {
            Abi::X86_64 | Abi::X32 => 0xc000_003e,
            Abi::X86 => 0x4000_0003,
            Abi::Aarch64 => 0xc000_00b7,
            Abi::Arm => 0x4000_0028,
        }
    }

    /// Whether arguments are 32 bits wide (x32 passes 64-bit registers).
    pub(crate) fn is_32_bit(self) -> bool {
        matches!(self, Abi::X86 | Abi::Arm)
    }

    /// The number of a call, none if this ABI doesn't have it.
    pub(crate) fn number(self, name: &str) -> Option<u32> {
        let id = match self {
            Abi::X86_64 => syscalls::x86_64::Sysno::from_str(name).ok()?.id(),
            Abi::X86 => syscalls::x86::Sysno::from_str(name).ok()?.id(),
            Abi::X32 => return x32_number(name),
            // By another name in the table.
            Abi::Aarch64 if name == "newfstatat" => 79,
            Abi::Aarch64 => syscalls::aarch64::Sysno::from_str(name).ok()?.id(),
            Abi::Arm => match arm_private(name) {
                Some(number) => return Some(number),
                None => syscalls::arm::Sysno::from_str(name).ok()?.id(),
            },
        };
        u32::try_from(id).ok()
    }

    /// The multiplexing call and its first argument by which x86 can make the call as well.
    pub(crate) fn multiplexed(self, name: &str) -> Option<(u32, u64)> {
        if self != Abi::X86 {
            return None;
        }
        // linux/net.h and linux/ipc.h
        let (call, number) = match name {
            "socket" => (SOCKETCALL, 1),
            "bind" => (SOCKETCALL, 2),
            "connect" => (SOCKETCALL, 3),
            "listen" => (SOCKETCALL, 4),
            "accept" => (SOCKETCALL, 5),
            "getsockname" => (SOCKETCALL, 6),
            "getpeername" => (SOCKETCALL, 7),
            "socketpair" => (SOCKETCALL, 8),
            "send" => (SOCKETCALL, 9),
            "recv" => (SOCKETCALL, 10),
            "sendto" => (SOCKETCALL, 11),
            "recvfrom" => (SOCKETCALL, 12),
            "shutdown" => (SOCKETCALL, 13),
            "setsockopt" => (SOCKETCALL, 14),
            "getsockopt" => (SOCKETCALL, 15),
            "sendmsg" => (SOCKETCALL, 16),
            "recvmsg" => (SOCKETCALL, 17),
            "accept4" => (SOCKETCALL, 18),
            "recvmmsg" => (SOCKETCALL, 19),
            "sendmmsg" => (SOCKETCALL, 20),
            "semop" => (IPC, 1),
            "semget" => (IPC, 2),
            "semctl" => (IPC, 3),
            "semtimedop" => (IPC, 4),
            "msgsnd" => (IPC, 11),
            "msgrcv" => (IPC, 12),
            "msgget" => (IPC, 13),
            "msgctl" => (IPC, 14),
            "shmat" => (IPC, 21),
            "shmdt" => (IPC, 22),
            "shmget" => (IPC, 23),
            "shmctl" => (IPC, 24),
            _ => return None,
        };
        Some((call, number))
    }
}

const SOCKETCALL: u32 = 102;
const IPC: u32 = 117;

/// First of ARM's private calls (`__ARM_NR_BASE`), above every other number.
pub(crate) const ARM_PRIVATE: u32 = 0x0f_0000;

/// ARM's private calls (arch/arm/include/uapi/asm/unistd.h).
fn arm_private(name: &str) -> Option<u32> {
    match name {
        "breakpoint" => Some(ARM_PRIVATE + 1),
        "cacheflush" => Some(ARM_PRIVATE + 2),
        "usr26" => Some(ARM_PRIVATE + 3),
        "usr32" => Some(ARM_PRIVATE + 4),
        "set_tls" => Some(ARM_PRIVATE + 5),
        "get_tls" => Some(ARM_PRIVATE + 6),
        // The same call by the name that other 32-bit architectures have for it.
        "sync_file_range2" => Some(341),
        _ => None,
    }
}

/// x32 has x86_64's numbers, but for the calls whose arguments hold pointers (512 and up) and
/// those that it doesn't have (arch/x86/entry/syscalls/syscall_64.tbl).
fn x32_number(name: &str) -> Option<u32> {
    let number = match name {
        "_sysctl" | "create_module" | "epoll_ctl_old" | "epoll_wait_old" | "get_kernel_syms"
        | "get_thread_area" | "nfsservctl" | "query_module" | "set_thread_area" | "uselib"
        | "vserver" => return None,
        "rt_sigaction" => 512,
        "rt_sigreturn" => 513,
        "ioctl" => 514,
        "readv" => 515,
        "writev" => 516,
        "recvfrom" => 517,
        "sendmsg" => 518,
        "recvmsg" => 519,
        "execve" => 520,
        "ptrace" => 521,
        "rt_sigpending" => 522,
        "rt_sigtimedwait" => 523,
        "rt_sigqueueinfo" => 524,
        "sigaltstack" => 525,
        "timer_create" => 526,
        "mq_notify" => 527,
        "kexec_load" => 528,
        "waitid" => 529,
        "set_robust_list" => 530,
        "get_robust_list" => 531,
        "vmsplice" => 532,
        "move_pages" => 533,
        "preadv" => 534,
        "pwritev" => 535,
        "rt_tgsigqueueinfo" => 536,
        "recvmmsg" => 537,
        "sendmmsg" => 538,
        "process_vm_readv" => 539,
        "process_vm_writev" => 540,
        "setsockopt" => 541,
        "getsockopt" => 542,
        "io_setup" => 543,
        "io_submit" => 544,
        "execveat" => 545,
        "preadv2" => 546,
        "pwritev2" => 547,
        other => Abi::X86_64.number(other)?,
    };
    Some(number | X32_BIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of include/uapi/asm-generic/unistd.h, by libseccomp's names: what every program needs, and what
    /// has its name from elsewhere in the kernel's header.
    #[test]
    fn what_arm_has_is_found_by_its_name() {
        for (name, number) in [
            ("fcntl", 25),
            ("ioctl", 29),
            ("statfs", 43),
            ("ftruncate", 46),
            ("openat", 56),
            ("lseek", 62),
            ("sendfile", 71),
            ("newfstatat", 79),
            ("fstat", 80),
            ("sync_file_range", 84),
            ("exit_group", 94),
            ("rt_sigreturn", 139),
            ("clone", 220),
            ("execve", 221),
            ("mmap", 222),
            ("fadvise64", 223),
            ("prlimit64", 261),
            ("statx", 291),
            ("clone3", 435),
        ] {
            assert_eq!(Abi::Aarch64.number(name), Some(number), "{name}");
        }
        for legacy in ["open", "stat", "fork", "select", "arch_prctl"] {
            assert_eq!(Abi::Aarch64.number(legacy), None, "{legacy}");
        }
    }
}
