//! Processes that join a running container.

use std::fs;

use coracle_launcher::{Error, Kind, exec};
use serde_json::json;

use crate::fixture::{Bundle, Groups, Sleeper, forbid, run_exec, wait};

crate::tests![
    it_joins_everything,
    it_joins_time,
    it_sees_the_container,
    it_has_the_same_rules,
    it_has_the_same_filter,
    its_personality,
    users_and_homes,
    working_directory,
    errors,
    control_groups,
    with_shared_namespaces,
    of_a_dead_container,
    many_at_once,
    hostile_terminals,
];

fn it_joins_everything() {
    let mut bundle = Bundle::new();
    let sleeper = Sleeper::start(&mut bundle);
    let script = "for n in pid net ipc uts mnt cgroup; do readlink /proc/self/ns/$n; done";
    let inside = run_exec(sleeper.exec(&bundle, script)).stdout;
    let kinds = ["pid", "net", "ipc", "uts", "mnt", "cgroup"];
    assert_eq!(inside.lines().count(), kinds.len());
    for (kind, inside) in kinds.iter().zip(inside.lines()) {
        let path = format!("/proc/{}/ns/{kind}", sleeper.process.pid);
        assert_eq!(fs::read_link(path).unwrap().to_string_lossy(), inside);
    }
}

fn it_joins_time() {
    let mut bundle = Bundle::new();
    let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut();
    namespaces.unwrap().push(json!({"type": "time"}));
    bundle.spec["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1_000_000}});
    let sleeper = Sleeper::start(&mut bundle);
    let uptime = run_exec(sleeper.exec(&bundle, "cut -d. -f1 /proc/uptime")).stdout;
    assert!(uptime.trim().parse::<u64>().unwrap() >= 1_000_000);
}

fn it_sees_the_container() {
    let mut bundle = Bundle::new();
    let sleeper = Sleeper::start(&mut bundle);
    let script = "hostname; cat /proc/1/comm; pwd; readlink /proc/self/cwd; echo $A; exit 9";
    let output = run_exec(sleeper.exec(&bundle, script));
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (9, "crate\nsleep\n/\n/\nb\n")
    );
    let process = exec(&sleeper.exec(&bundle, "kill -TERM $$")).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", process.pid)).unwrap();
    assert!(
        status.contains(&format!("PPid:\t{}\n", std::process::id())),
        "{status}"
    );
    assert_eq!(wait(&process), 143);
}

fn it_has_the_same_rules() {
    let mut bundle = Bundle::new();
    bundle.spec["process"]["noNewPrivileges"] = json!(true);
    bundle.spec["process"]["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}
    ]);
    let sleeper = Sleeper::start(&mut bundle);
    let script = "grep -E '^(Cap|NoNew|Seccomp|Sig|Groups|Umask)' /proc/$1/status; \
                  ulimit -n; umask";
    let rules = |pid: &str| {
        let script = script.replace("$1", pid);
        run_exec(sleeper.exec(&bundle, &script)).stdout
    };
    let (first, own) = (rules("1"), rules("self"));
    let strip = |text: &str| -> Vec<String> {
        // A shell catches signals of its own.
        text.lines()
            .filter(|line| !line.starts_with("SigCgt"))
            .map(Into::into)
            .collect()
    };
    assert_eq!(strip(&first), strip(&own));
    assert!(own.contains("CapEff:\t00000000a80425fb") && own.contains("NoNewPrivs:\t1"));
    assert!(own.contains("SigIgn:\t0000000000000000"));
    assert!(own.ends_with("100\n0022\n"));
}

fn it_has_the_same_filter() {
    let mut bundle = Bundle::new();
    let profile = forbid(&["mkdir", "mkdirat"]);
    bundle.spec["linux"]["seccomp"] = profile.clone();
    let sleeper = Sleeper::start(&mut bundle);
    let mut request = sleeper.exec(&bundle, "mkdir /tmp/x; grep ^Seccomp: /proc/self/status");
    request.seccomp = Some(serde_json::from_value(profile).unwrap());
    let output = run_exec(request);
    assert_eq!(output.stdout, "Seccomp:\t2\n");
    assert!(
        output.stderr.contains("Operation not permitted"),
        "{output:?}"
    );
}

fn its_personality() {
    let mut bundle = Bundle::new();
    let sleeper = Sleeper::start(&mut bundle);
    let mut request = sleeper.exec(&bundle, "uname -m");
    let personality = json!({"domain": "LINUX32"});
    request.personality = serde_json::from_value(personality).unwrap();
    let machine = run_exec(request).stdout;
    let plain = run_exec(sleeper.exec(&bundle, "uname -m")).stdout;
    if cfg!(target_arch = "x86_64") {
        assert_eq!((machine.as_str(), plain.as_str()), ("i686\n", "x86_64\n"));
    }
    let mut request = sleeper.exec(&bundle, "true");
    let personality = json!({"domain": "LINUX", "flags": ["x"]});
    request.personality = serde_json::from_value(personality).unwrap();
    let error = exec(&request).unwrap_err().to_string();
    assert!(error.contains("linux.personality.flags"), "{error}");
}

fn users_and_homes() {
    let mut bundle = Bundle::new();
    let sleeper = Sleeper::start(&mut bundle);
    let mut request = sleeper.exec(&bundle, "id -u; id -G; echo $HOME; umask");
    request.user = Some("bob".into());
    assert_eq!(run_exec(request).stdout, "1000\n1001 29\n/home/bob\n0022\n");
    let mut request = sleeper.exec(&bundle, "");
    request.user = Some("eve".into());
    let error = exec(&request).unwrap_err().to_string();
    assert_eq!(
        error,
        "unable to find user eve: no matching entries in passwd file"
    );
}

fn working_directory() {
    let mut bundle = Bundle::new();
    let sleeper = Sleeper::start(&mut bundle);
    bundle.spec["process"]["cwd"] = json!("/home/bob");
    assert_eq!(run_exec(sleeper.exec(&bundle, "pwd")).stdout, "/home/bob\n");
    bundle.spec["process"]["cwd"] = json!("/none");
    let error = exec(&sleeper.exec(&bundle, "pwd")).unwrap_err().to_string();
    assert_eq!(
        error,
        "chdir to cwd (\"/none\") set in config.json failed: no such file or directory"
    );
}

fn errors() {
    let mut bundle = Bundle::new();
    let sleeper = Sleeper::start(&mut bundle);
    let mut request = sleeper.exec(&bundle, "");
    request.process.set_args(Some(vec!["foo".into()]));
    let error = exec(&request).unwrap_err();
    assert_eq!(error.kind(), Kind::CommandNotFound);
    let text = "exec: \"foo\": executable file not found in $PATH";
    assert_eq!(error.to_string(), text);
    request.process.set_args(Some(vec!["/etc".into()]));
    assert_eq!(
        exec(&request).unwrap_err().kind(),
        Kind::CommandNotExecutable
    );
    request.process.set_args(Some(Vec::new()));
    assert!(matches!(exec(&request), Err(Error::Invalid(_))));
}

fn control_groups() {
    let groups = Groups::new("exec");
    if groups.0.is_empty() {
        println!("skipped: no control groups can be made here");
        return;
    }
    let mut bundle = Bundle::new();
    bundle.args(&["sleep", "1000"]);
    let mut request = bundle.request();
    request.cgroup = Some(groups.0.clone());
    let sleeper = Sleeper::of(request);
    let mut request = sleeper.exec(&bundle, "cat /proc/self/cgroup");
    request.cgroup = Some(groups.0.clone());
    let output = run_exec(request).stdout;
    assert!(
        !output.is_empty() && output.lines().all(|line| line.ends_with(":/")),
        "{output}"
    );
}

fn with_shared_namespaces() {
    let mut bundle = Bundle::new();
    for kind in ["pid", "network", "ipc", "uts", "cgroup"] {
        bundle.drop_namespace(kind);
    }
    bundle.spec["hostname"] = json!("");
    let sleeper = Sleeper::start(&mut bundle);
    let script = "echo $$; readlink /proc/self/ns/pid; ls -A / | wc -l";
    let output = run_exec(sleeper.exec(&bundle, script)).stdout;
    let lines: Vec<_> = output.lines().collect();
    assert!(lines[0].parse::<u32>().unwrap() > 1);
    let host = fs::read_link("/proc/self/ns/pid").unwrap();
    assert_eq!(lines[1], host.to_string_lossy());
    assert_eq!(lines[2], "8");
}

fn of_a_dead_container() {
    let mut bundle = Bundle::new();
    let sleeper = Sleeper::start(&mut bundle);
    let request = sleeper.exec(&bundle, "true");
    drop(sleeper);
    assert!(matches!(exec(&request), Err(Error::Invalid(_))));
}

fn many_at_once() {
    let mut bundle = Bundle::new();
    let sleeper = Sleeper::start(&mut bundle);
    let processes: Vec<_> = (0..20)
        .map(|number| exec(&sleeper.exec(&bundle, &format!("sleep 0.05; exit {number}"))).unwrap())
        .collect();
    for (number, process) in processes.iter().enumerate() {
        assert_eq!(wait(process), number as i32);
    }
}

fn hostile_terminals() {
    let mut bundle = Bundle::new();
    let caps = json!(["CAP_SYS_ADMIN"]);
    bundle.spec["process"]["capabilities"] =
        json!({"bounding": caps, "permitted": caps, "effective": caps});
    let sleeper = Sleeper::start(&mut bundle);
    run_exec(sleeper.exec(
        &bundle,
        "umount /dev/pts; mount -t tmpfs x /dev/pts; \
        ln -s /etc/passwd /dev/pts/ptmx",
    ));
    let mut request = sleeper.exec(&bundle, "true");
    request.process.set_terminal(Some(true));
    let error = exec(&request).unwrap_err().to_string();
    assert!(error.contains("something else is mounted there"), "{error}");
}
