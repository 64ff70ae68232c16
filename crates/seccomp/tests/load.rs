//! Filters in the running kernel. A filter holds for the thread that loads it and for what that
//! thread starts, so each test loads its own in a thread.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;

use coracle_seccomp::compile;
use coracle_seccomp::default_profile;
use oci_spec::runtime::Capabilities;
use oci_spec::runtime::LinuxSeccomp;

fn filtered<T: Send + 'static>(
    profile: &LinuxSeccomp,
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    let program = compile(profile).unwrap();
    let thread = thread::spawn(move || {
        rustix::thread::set_no_new_privs(true).unwrap();
        program.load().unwrap();
        work()
    });
    thread.join().unwrap()
}

fn profile(json: serde_json::Value) -> LinuxSeccomp {
    serde_json::from_value(json).unwrap()
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn mkdir_is_denied() {
    let profile = profile(serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": ["SCMP_ARCH_NATIVE", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": [
            {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"},
            {"names": ["mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28},
            {"names": ["rmdir", "unlinkat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 4095},
        ],
    }));
    let (mkdir, mkdirat, rmdir) = filtered(&profile, || {
        (
            errno(std::fs::create_dir("/nonexistent/a")),
            rustix::fs::mkdirat(rustix::fs::CWD, "/nonexistent/a", 0o700.into()),
            errno(std::fs::remove_dir("/nonexistent/a")),
        )
    });
    // aarch64 has mkdirat only.
    assert!(matches!(mkdir, Some(1 | 28)), "{mkdir:?}");
    assert_eq!(mkdirat, Err(rustix::io::Errno::NOSPC));
    assert_eq!(rmdir, Some(4095));
}

#[test]
fn arguments_have_64_bits() {
    let profile = profile(serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [
            {"names": ["lseek"], "action": "SCMP_ACT_ERRNO", "errnoRet": 11,
             "args": [{"index": 1, "value": 0x1_0000_0001_u64, "op": "SCMP_CMP_GT"}]},
            {"names": ["lseek"], "action": "SCMP_ACT_ERRNO", "errnoRet": 12,
             "args": [{"index": 1, "value": 0xff_0000_00ff_u64, "valueTwo": 0x01_0000_0001_u64,
                       "op": "SCMP_CMP_MASKED_EQ"}]},
        ],
    }));
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    let seek = move |offset| {
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(offset))
            .map_err(|errno| errno.raw_os_error())
    };
    filtered(&profile, move || {
        assert_eq!(seek(1), Ok(1));
        assert_eq!(seek(0x1_0000_0000), Ok(0x1_0000_0000));
        assert_eq!(seek(0x1_0000_0001), Err(12));
        assert_eq!(seek(0x1_0000_0002), Err(11));
        assert_eq!(seek(0x2_0000_0000), Err(11));
    });
}

#[test]
fn killed_process() {
    let profile = profile(serde_json::json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "flags": ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"],
        "syscalls": [{"names": ["chdir"], "action": "SCMP_ACT_KILL_PROCESS"}],
    }));
    let status = filtered(&profile, || {
        Command::new("/bin/sh")
            .args(["-c", "cd /; exit 3"])
            .status()
    });
    assert_eq!(status.unwrap().signal(), Some(libc::SIGSYS));
}

#[test]
fn ordinary_programs_run_under_the_default_profile() {
    let profile = default_profile(&Capabilities::new()).unwrap();
    let output = filtered(&profile, || {
        Command::new("/bin/sh")
            .args(["-c", "ls / | wc -l && date && ! unshare --user true"])
            .output()
    });
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
}
