//! Has another process make a system call, which is what a debugger does with a process that it holds.
//!
//! A kernel discards pages of a process' memory for that process alone (`process_madvise(2)` refuses
//! `MADV_DONTNEED` for others). So one of its threads, which waits in a system call of its own, is held
//! for the moment that another call takes; then it goes on waiting. Whoever traced it is its parent, with
//! which it ends: a crash in between leaves no more than any other does.
//!
//! Nothing that the process could say is trusted: it gains nothing but a call that it could make itself.

#![allow(unsafe_code)]

use std::io;
use std::ops::Range;

/// Discards pages of a process' memory: they are empty from now on. Blocks for a moment, and must not
/// be used by two at once for one process.
///
/// # Errors
/// If no thread of it can be held, or the kernel refuses. Nothing has changed then.
pub(crate) fn discard(pid: i32, pages: Range<u64>) -> io::Result<()> {
    let length = pages.end.saturating_sub(pages.start);
    let advice = libc::MADV_DONTNEED as u64;
    let mut why = io::Error::other("it has no threads");
    for thread in threads(pid)? {
        let called = held::call(
            thread,
            libc::SYS_madvise as u64,
            [pages.start, length, advice],
        );
        match called {
            Ok(0) => return Ok(()),
            Ok(error) => {
                return Err(io::Error::from_raw_os_error(
                    i32::try_from(-error).unwrap_or(libc::EIO),
                ));
            }
            Err(error) => why = error,
        }
    }
    Err(why)
}

/// The threads of a process that wait for something, the first one last.
fn threads(pid: i32) -> io::Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let name = entry?.file_name();
        let Some(thread) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat"));
        // After the name, which may have anything in it.
        let waits = stat.is_ok_and(|stat| {
            let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            rest.trim_start().starts_with('S')
        });
        if waits {
            found.push(thread);
        }
    }
    found.sort_by_key(|thread| (*thread == pid, *thread));
    Ok(found)
}

#[cfg(target_arch = "x86_64")]
mod held {
    use std::ffi::{c_int, c_long};
    use std::{io, ptr};

    use libc::user_regs_struct;

    /// The instruction `syscall`.
    const CALL: [u8; 2] = [0x0f, 0x05];

    /// One request of `ptrace(2)`, as the kernel takes it.
    fn ptrace(request: i64, thread: i32, address: u64, data: u64) -> io::Result<()> {
        // SAFETY: where the kernel writes to or reads from our memory, `data` is the address of a value of
        // the right size that the caller borrows for the call; all else is about the other process.
        let done: c_long =
            unsafe { libc::syscall(libc::SYS_ptrace, request, thread, address, data) };
        match done {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// A thread that stands still; it goes on when this is dropped.
    struct Held {
        thread: i32,
        /// What it is to be told when it goes on.
        signal: i32,
    }

    impl Drop for Held {
        fn drop(&mut self) {
            // An error means that it has ended.
            let detach = i64::from(libc::PTRACE_DETACH);
            let _ = ptrace(detach, self.thread, 0, self.signal as u64);
        }
    }

    /// Waits until a thread that is traced stands still; by which signal, and which event of tracing.
    fn stopped(thread: i32) -> io::Result<(i32, i32)> {
        let mut status: c_int = 0;
        loop {
            // SAFETY: the kernel writes one integer to where the pointer says.
            if unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) } >= 0 {
                break;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
        match libc::WIFSTOPPED(status) {
            true => Ok((libc::WSTOPSIG(status), status >> 16)),
            false => Err(io::ErrorKind::NotFound.into()),
        }
    }

    impl Held {
        fn take(thread: i32) -> io::Result<Held> {
            // It must not outlive us with what we changed of it.
            let options = libc::PTRACE_O_EXITKILL as u64;
            ptrace(i64::from(libc::PTRACE_SEIZE), thread, 0, options)?;
            // An error means that it has ended, and waiting for it says so.
            let _ = ptrace(i64::from(libc::PTRACE_INTERRUPT), thread, 0, 0);
            let (signal, event) = stopped(thread)?;
            let mut held = Held { thread, signal: 0 };
            match (signal, event) {
                (libc::SIGTRAP, libc::PTRACE_EVENT_STOP) => Ok(held),
                (_, libc::PTRACE_EVENT_STOP) => Err(io::Error::other("it was stopped already")),
                (signal, _) => {
                    held.signal = signal;
                    Err(io::ErrorKind::Interrupted.into())
                }
            }
        }

        fn registers(&self) -> io::Result<user_regs_struct> {
            // SAFETY: a struct of integers, for which all zeroes is a valid value.
            let mut registers: user_regs_struct = unsafe { std::mem::zeroed() };
            let into = &raw mut registers as u64;
            ptrace(i64::from(libc::PTRACE_GETREGS), self.thread, 0, into)?;
            Ok(registers)
        }

        fn set_registers(&self, registers: &user_regs_struct) -> io::Result<()> {
            let from = ptr::from_ref(registers) as u64;
            ptrace(i64::from(libc::PTRACE_SETREGS), self.thread, 0, from)
        }

        fn word(&self, address: u64) -> io::Result<[u8; 8]> {
            let mut word: c_long = 0;
            let into = &raw mut word as u64;
            ptrace(i64::from(libc::PTRACE_PEEKTEXT), self.thread, address, into)?;
            Ok(word.to_ne_bytes())
        }

        /// Executes one instruction.
        fn step(&mut self) -> io::Result<()> {
            ptrace(i64::from(libc::PTRACE_SINGLESTEP), self.thread, 0, 0)?;
            match stopped(self.thread)? {
                (libc::SIGTRAP, 0) => Ok(()),
                // To be delivered when it goes on, to what it was doing.
                (signal, _) => {
                    self.signal = signal;
                    Err(io::ErrorKind::Interrupted.into())
                }
            }
        }
    }

    /// Has a thread make a system call, which must be one that returns at once; what it returned.
    pub(super) fn call(thread: i32, number: u64, arguments: [u64; 3]) -> io::Result<i64> {
        let mut held = Held::take(thread)?;
        let before = held.registers()?;
        // Where it has made a call of its own there is an instruction for it. It is made anew when the
        // thread goes on with the registers that it has now.
        let place = before.rip.wrapping_sub(CALL.len() as u64);
        if (before.orig_rax as i64) < 0 || !held.word(place)?.starts_with(&CALL) {
            return Err(io::Error::other("it waits in no system call"));
        }
        let [first, second, third] = arguments;
        let ours = user_regs_struct {
            rip: place,
            rax: number,
            // Not the one that is made anew.
            orig_rax: u64::MAX,
            rdi: first,
            rsi: second,
            rdx: third,
            ..before
        };
        held.set_registers(&ours)?;
        let stepped = held.step();
        let after = held.registers();
        // Fails only if it has ended.
        held.set_registers(&before)?;
        stepped?;
        let after = after?;
        // What was executed has left the instruction behind it.
        match after.rip == before.rip {
            true => Ok(after.rax as i64),
            false => Err(io::Error::other("it made no call")),
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod held {
    use std::io;

    pub(super) fn call(_thread: i32, _number: u64, _arguments: [u64; 3]) -> io::Result<i64> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn who_is_traced_goes_on_with_what_it_did() {
        let mut child = Command::new("sh")
            .args(["-c", "sleep 1 & read line; wait $! && exit 7"])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let pid = child.id() as i32;
        let mut traced = 0;
        for _ in 0..50 {
            // One that has not begun to wait yet has no thread for it.
            traced += i32::from(discard(pid, 0x1000..0x1000).is_ok());
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
        assert!(traced > 0);
        drop(child.stdin.take());
        // The end of its input makes `read` fail, which is no matter.
        assert_eq!(child.wait().unwrap().code(), Some(7));
        assert!(discard(pid, 0x1000..0x1000).is_err());
    }

    #[test]
    fn what_the_kernel_refuses_is_told() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = child.id() as i32;
        let refused = loop {
            match discard(pid, 0x1001..0x2001) {
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break true,
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(2)),
                Ok(()) => break false,
            }
        };
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(refused);
    }
}
