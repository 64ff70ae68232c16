//! Limits, scores, streams, descriptors, signals, the reaper, control groups.

use std::fs;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;

use coracle_launcher::{Created, create};
use rustix::process::{Resource, Signal, getrlimit, pidfd_send_signal};
use serde_json::json;

use crate::fixture::{Bundle, Groups, Sleeper, in_own_mount_namespace, run, wait};

crate::tests![
    limits,
    limits_that_cannot_be_raised,
    out_of_memory_score,
    input,
    null_streams,
    pipes_belong_to_the_user,
    no_descriptor_leaks,
    priorities,
    addresses_are_randomized,
    reaper_forwards_signals,
    reaper_passes_exit_codes,
    reaper_reaps,
    reaper_failures,
    reaper_is_confined,
    control_groups,
    control_groups_as_seen_inside,
    unified_control_groups,
];

fn limits() {
    let mut bundle = Bundle::sh("ulimit -n; ulimit -Hn; ulimit -c; ulimit -u");
    bundle.spec["process"]["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
        {"type": "RLIMIT_NPROC", "soft": 50, "hard": 60},
    ]);
    assert_eq!(bundle.stdout(), "100\n200\n0\n50\n");
    bundle.spec["process"]["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 300, "hard": 200}
    ]);
    assert!(bundle.refused().to_string().contains("RLIMIT_NOFILE"));
}

/// Whatever this program's are.
fn addresses_are_randomized() {
    // SAFETY: no memory is passed.
    let before = unsafe { libc::personality(libc::ADDR_NO_RANDOMIZE as libc::c_ulong) };
    let bundle = Bundle::sh("cat /proc/self/personality");
    let inside = bundle.stdout();
    // SAFETY: as above.
    unsafe { libc::personality(before as libc::c_ulong) };
    assert_eq!(inside, "00000000\n");
}

fn limits_that_cannot_be_raised() {
    let Some(highest) = getrlimit(Resource::Nofile).maximum else {
        println!("skipped: there is no limit to raise");
        return;
    };
    let own = rustix::thread::capabilities(None).unwrap().permitted;
    if own.contains(rustix::thread::CapabilitySet::SYS_RESOURCE) {
        println!("skipped: limits can be raised here");
        return;
    }
    let mut bundle = Bundle::sh("ulimit -n; ulimit -Hn");
    bundle.spec["process"]["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 1_048_576, "hard": 1_048_576}
    ]);
    assert_eq!(bundle.stdout(), format!("{highest}\n{highest}\n"));
    let created = create(&bundle.request()).unwrap();
    assert!(
        created.warnings()[0].starts_with("RLIMIT_NOFILE"),
        "{:?}",
        created.warnings()
    );
}

fn out_of_memory_score() {
    let mut bundle = Bundle::sh("cat /proc/self/oom_score_adj");
    bundle.spec["process"]["oomScoreAdj"] = json!(321);
    assert_eq!(bundle.stdout(), "321\n");
}

fn input() {
    let (stdin, writer) = rustix::pipe::pipe().unwrap();
    let bundle = Bundle::sh("cat; echo end");
    let mut request = bundle.request();
    request.stdio.stdin = Some(stdin);
    fs::File::from(writer).write_all(b"hello ").unwrap();
    assert_eq!(run(request).stdout, "hello end\n");
}

fn null_streams() {
    let mut bundle = Bundle::sh("cat; readlink /proc/self/fd/0 > /out/fd; echo lost");
    let out = bundle.host_dir("out");
    bundle.bind(&out, "/out", &["rbind"]);
    let process = create(&bundle.request()).and_then(Created::start).unwrap();
    assert_eq!(wait(&process), 0);
    assert_eq!(fs::read_to_string(out.join("fd")).unwrap(), "/dev/null\n");
}

fn pipes_belong_to_the_user() {
    let bundle = Bundle::sh("echo out > /dev/stdout; echo err > /dev/stderr");
    let mut request = bundle.request();
    request.user = Some("bob".into());
    let output = run(request);
    assert_eq!(
        (output.stdout.as_str(), output.stderr.as_str()),
        ("out\n", "err\n")
    );
}

fn no_descriptor_leaks() {
    // Not close-on-exec: what a careless library of the caller's would leave.
    let leak: OwnedFd = fs::File::open("/etc").unwrap().into();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let bundle = Bundle::sh("ls /proc/self/fd");
    let expected = "0\n1\n2\n3\n";
    assert_eq!(bundle.stdout(), expected, "3 is ls's own");
    let mut request = bundle.request();
    request.init = true;
    assert_eq!(run(request).stdout, expected);
    let mut sleeping = Bundle::new();
    let sleeper = Sleeper::start(&mut sleeping);
    let output =
        crate::fixture::run_exec(sleeper.exec(&sleeping, "ls /proc/self/fd; ls /proc/1/fd"));
    assert_eq!(output.stdout, format!("{expected}0\n1\n2\n"));
}

fn priorities() {
    let mut bundle = Bundle::sh("cat /proc/self/stat | cut -d' ' -f19,41; uname -m");
    bundle.spec["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
    bundle.spec["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
    bundle.spec["linux"]["personality"] = json!({"domain": "LINUX32"});
    let machine = if cfg!(target_arch = "x86_64") {
        "i686"
    } else {
        "armv8l"
    };
    assert_eq!(bundle.stdout(), format!("5 3\n{machine}\n"));
}

fn reaper_forwards_signals() {
    let script = "trap 'echo usr1; exit 7' USR1; echo ready; while :; do sleep 0.05; done";
    let bundle = Bundle::sh(script);
    let mut request = bundle.request();
    request.init = true;
    let (read, write) = rustix::pipe::pipe().unwrap();
    request.stdio.stdout = Some(write);
    let process = create(&request).and_then(Created::start).unwrap();
    drop(request);
    let mut first = [0; 6];
    let mut pipe = fs::File::from(read);
    std::io::Read::read_exact(&mut pipe, &mut first).unwrap();
    pidfd_send_signal(&process.pidfd, Signal::USR1).unwrap();
    assert_eq!(wait(&process), 7);
    assert_eq!(crate::fixture::read(pipe.into()), "usr1\n");
}

fn reaper_passes_exit_codes() {
    for (script, code) in [("exit 42", 42), ("kill -9 $$", 137), ("true", 0)] {
        let bundle = Bundle::sh(script);
        let mut request = bundle.request();
        request.init = true;
        assert_eq!(run(request).code, code);
    }
    // Without a pid namespace it isn't the first process, and serves all the same.
    let mut bundle = Bundle::sh("(sleep 0.1; echo orphan) & exit 3");
    bundle.drop_namespace("pid");
    let mut request = bundle.request();
    request.init = true;
    assert_eq!(run(request).code, 3);
}

fn reaper_reaps() {
    let script = "echo $$; cat /proc/1/comm; \
                  (sh -c '(sleep 0.05) & exit 0'); sleep 0.3; ps -o stat,comm | grep -c ^Z";
    let bundle = Bundle::sh(script);
    let mut request = bundle.request();
    request.init = true;
    let output = run(request);
    assert_eq!(output.stdout, "2\ninit\n0\n");
}

fn reaper_failures() {
    let mut bundle = Bundle::new();
    bundle.args(&["none"]);
    let mut request = bundle.request();
    request.init = true;
    assert_eq!(crate::fixture::refused(request).kind().exit_code(), 127);
    let bad = bundle.root().join("bin/bad");
    fs::write(&bad, "#!/none\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bad, mode).unwrap();
    bundle.args(&["bad"]);
    let mut request = bundle.request();
    request.init = true;
    assert_eq!(crate::fixture::refused(request).kind().exit_code(), 127);
}

fn reaper_is_confined() {
    let mut bundle = Bundle::sh("grep -E 'Cap(Eff|Prm|Bnd)|^Seccomp:|Uid' /proc/1/status");
    bundle.spec["linux"]["seccomp"] = crate::fixture::forbid(&["mkdir"]);
    let mut request = bundle.request();
    request.init = true;
    request.user = Some("bob".into());
    let output = run(request);
    assert!(output.stdout.contains("Uid:\t1000\t1000"), "{output:?}");
    assert!(
        output.stdout.contains("CapBnd:\t00000000a80425fb"),
        "{output:?}"
    );
    assert!(output.stdout.contains("Seccomp:\t2"), "{output:?}");
}

fn control_groups() {
    let groups = Groups::new("join");
    if groups.0.is_empty() {
        println!("skipped: no control groups can be made here");
        return;
    }
    let bundle = Bundle::sh("cat /proc/self/cgroup");
    let mut without = Bundle::sh("cat /proc/self/cgroup");
    without.drop_namespace("cgroup");
    let mut request = without.request();
    request.cgroup = Some(groups.0.clone());
    let inside = run(request).stdout;
    let name = groups.0[0].file_name().unwrap().to_str().unwrap();
    for line in inside.lines() {
        assert!(line.ends_with(&format!(":/{name}")), "{inside}");
    }
    // In a namespace of its own the group is the root.
    let mut request = bundle.request();
    request.cgroup = Some(groups.0.clone());
    let inside = run(request).stdout;
    assert!(
        !inside.is_empty() && inside.lines().all(|line| line.ends_with(":/")),
        "{inside}"
    );
    let mut request = bundle.request();
    request.cgroup = Some(vec!["/tmp".into()]);
    assert!(
        crate::fixture::refused(request)
            .to_string()
            .contains("no control group")
    );
}

fn control_groups_as_seen_inside() {
    if !fs::exists("/sys/fs/cgroup/memory").unwrap() {
        println!("skipped: needs version 1 control groups");
        return;
    }
    let groups = Groups::new("seen");
    let script = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes; ls /sys/fs/cgroup/memory | \
                  grep -c coracle; mkdir /sys/fs/cgroup/memory/x; mkdir /sys/fs/cgroup/x";
    for namespace in [true, false] {
        let mut bundle = Bundle::sh(script);
        if !namespace {
            bundle.drop_namespace("cgroup");
        }
        let memory = groups
            .0
            .iter()
            .find(|dir| dir.starts_with("/sys/fs/cgroup/memory"));
        fs::write(memory.unwrap().join("memory.limit_in_bytes"), "67108864").unwrap();
        let mut request = bundle.request();
        request.cgroup = Some(groups.0.clone());
        let output = run(request);
        assert_eq!(output.stdout, "67108864\n0\n", "{output:?}");
        assert_eq!(
            output.stderr.matches("Read-only file system").count(),
            2,
            "{output:?}"
        );
    }
}

/// As on a host with version 2 only.
fn unified_control_groups() {
    if !in_own_mount_namespace("launch::process::unified_control_groups") {
        return;
    }
    let tree = Path::new("/sys/fs/cgroup");
    let _ = Command::new("umount").arg("-Rl").arg(tree).status();
    let mounted = Command::new("mount")
        .args(["-t", "cgroup2", "none"])
        .arg(tree)
        .status();
    if !mounted.unwrap().success() {
        println!("skipped: needs version 2 control groups");
        return;
    }
    let group = tree.join(format!("coracle-launcher-unified-{}", std::process::id()));
    fs::create_dir(&group).unwrap();
    let groups = Groups(vec![group]);
    let script = "cat /sys/fs/cgroup/cgroup.procs | head -1; grep ^0 /proc/self/cgroup; \
                  mkdir /sys/fs/cgroup/x";
    let bundle = Bundle::sh(script);
    let mut request = bundle.request();
    request.cgroup = Some(groups.0.clone());
    let output = run(request);
    assert_eq!(output.stdout, "1\n0::/\n", "{output:?}");
    assert!(
        output.stderr.contains("Read-only file system"),
        "{output:?}"
    );
    let mut bundle = Bundle::sh("grep ^0 /proc/self/cgroup");
    bundle.drop_namespace("cgroup");
    let sleeper = Sleeper::start(&mut bundle);
    let mut request = sleeper.exec(&bundle, "grep ^0 /proc/self/cgroup");
    request.cgroup = Some(groups.0.clone());
    let seen = crate::fixture::run_exec(request).stdout;
    assert!(seen.contains("/coracle-launcher-unified-"), "{seen}");
}
