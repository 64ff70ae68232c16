//! `seccomp(2)`: the only unsafe code of this crate.

use std::io;

use crate::Instruction;

/// Loads `filter` into the calling thread.
pub(crate) fn load(filter: &[Instruction], flags: u32) -> io::Result<()> {
    let len = u16::try_from(filter.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let program = libc::sock_fprog {
        len,
        filter: filter.as_ptr().cast::<libc::sock_filter>().cast_mut(),
    };
    // SAFETY: `Instruction` is `repr(C)` with the fields of `struct sock_filter`; `program` points
    // to `len` of them, alive during the call, and the kernel only reads them (it copies the
    // filter). The call changes what later system calls answer, no memory.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::c_long::from(libc::SECCOMP_SET_MODE_FILTER),
            libc::c_long::from(flags),
            &raw const program,
        )
    };
    match result {
        0 => Ok(()),
        // With TSYNC, the id of a thread that couldn't follow.
        1.. => Err(io::Error::from_raw_os_error(libc::ESRCH)),
        _ => Err(io::Error::last_os_error()),
    }
}
