//! Options of volumes' driver `local`: binds, and file systems of their own.

use std::fs;

use coracle_tests::Daemon;

/// Makes a volume of these options.
#[track_caller]
fn create(d: &Daemon, name: &str, options: &[&str]) {
    let mut line = vec!["volume", "create"];
    for option in options {
        line.extend(["-o", option]);
    }
    line.push(name);
    assert_eq!(d.ok(&line), name);
}

/// Mounts of this host with anything of the daemon's, but for the network namespaces of what runs.
fn mounts(d: &Daemon) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let own = d.dir().display().to_string();
    let of_it = |line: &&str| line.contains(&own) && !line.contains("/netns/");
    table.lines().filter(of_it).map(str::to_owned).collect()
}

#[test]
fn binds() {
    let Some(d) = Daemon::start() else { return };
    let source = d.dir().join("source");
    fs::create_dir_all(source.join("sub")).unwrap();
    fs::write(source.join("file"), "of the host").unwrap();
    let device = format!("device={}", source.display());
    create(&d, "bound", &["type=none", "o=bind", &device]);
    create(&d, "fixed", &["type=none", "o=bind,ro", &device]);
    let options = d.ok(&["volume", "inspect", "-f", "{{.Options.o}}", "bound"]);
    assert_eq!(options, "bind");
    assert_eq!(
        d.sh(&["-v", "bound:/v"], "cat /v/file; echo; echo new >/v/sub/x"),
        "of the host"
    );
    assert_eq!(fs::read_to_string(source.join("sub/x")).unwrap(), "new\n");
    let part = "type=volume,source=bound,target=/v,volume-subpath=sub";
    assert_eq!(d.sh(&["--mount", part], "cat /v/x"), "new");
    let read_only = d.sh(&["-v", "fixed:/v"], "cat /v/file; touch /v/y 2>&1; true");
    assert!(read_only.contains("Read-only file system"), "{read_only}");
    // With its options where it is used.
    let mount = format!(
        "type=volume,source=made,target=/v,volume-opt=type=none,volume-opt=o=bind,volume-opt={device}"
    );
    assert_eq!(d.sh(&["--mount", &mount], "cat /v/file"), "of the host");
    d.ok(&["volume", "rm", "bound", "fixed", "made"]);
    assert!(source.join("file").exists(), "what is the host's stays");
    create(
        &d,
        "gone",
        &["type=none", "o=bind", "device=/no/such/place"],
    );
    d.docker(&["run", "--rm", "-v", "gone:/v", "busybox"])
        // The CLI takes "no such file or directory" for a command's.
        .code(127)
        .says("failed to mount local volume: mount /no/such/place:");
    assert_eq!(mounts(&d), Vec::<String>::new());
}

#[test]
fn memory_that_containers_share() {
    let Some(mut d) = Daemon::start() else { return };
    create(
        &d,
        "memory",
        &["type=tmpfs", "device=tmpfs", "o=size=1m,uid=33,mode=0750"],
    );
    // Many at once, of which one is the first.
    let names = ["one", "two", "three", "four"];
    std::thread::scope(|scope| {
        for name in names {
            let d = &d;
            scope.spawn(move || d.sleeper(&["--name", name, "-v", "memory:/v"]));
        }
    });
    let sh = |d: &Daemon, name: &str, script: &str| d.ok(&["exec", name, "sh", "-c", script]);
    assert_eq!(sh(&d, "one", "stat -c '%u %a' /v"), "33 750");
    sh(&d, "one", "echo shared >/v/file");
    assert_eq!(mounts(&d), Vec::<String>::new(), "while it is in use");
    for name in names {
        assert_eq!(sh(&d, name, "cat /v/file"), "shared", "{name}");
    }
    let full = sh(
        &d,
        "two",
        "dd if=/dev/zero of=/v/large bs=1M count=2 2>&1; rm /v/large; true",
    );
    assert!(full.contains("No space left on device"), "{full}");
    // A daemon that comes back finds it again; its first container need not be there any more.
    d.crash();
    d.ok(&["rm", "-f", "one"]);
    d.sleeper(&["--name", "five", "-v", "memory:/v"]);
    assert_eq!(sh(&d, "five", "cat /v/file"), "shared");
    d.fails(1, &["volume", "rm", "memory"])
        .says("volume is in use");
    d.ok(&["rm", "-f", "two", "three", "four", "five"]);
    // With its last container it is gone.
    assert_eq!(d.sh(&["-v", "memory:/v"], "ls /v | wc -l"), "0");
    d.ok(&["volume", "rm", "memory"]);
    assert_eq!(mounts(&d), Vec::<String>::new());
}

#[test]
fn what_makes_no_sense() {
    let Some(d) = Daemon::start() else { return };
    let refused = |options: &[&str], text: &str| {
        let mut line = vec!["volume", "create"];
        for option in options {
            line.extend(["-o", option]);
        }
        line.push("bad");
        d.docker(&line).code(1).says(text);
    };
    refused(&["nonsense=1"], "invalid option: \"nonsense\"");
    refused(&["type=tmpfs"], "missing required option: \"device\"");
    refused(&["device=/x"], "missing required option: \"type\"");
    refused(&["o=bind"], "missing required option: \"device\"");
    refused(
        &["type=nfs", "device=:/x", "o=addr=server"],
        "must be an IP address",
    );
    refused(&["type=tmpfs", "device=tmpfs", "o=colour=red"], "colour");
    assert_eq!(d.ok(&["volume", "ls", "-q"]), "");
    // Where the kernel has no such file system, or nobody answers, it says which.
    create(
        &d,
        "strange",
        &["type=nosuchfs", "device=somewhere", "o=soft"],
    );
    d.docker(&["run", "--rm", "-v", "strange:/v", "busybox"])
        .code(125)
        .says("mount nosuchfs: No such device");
}
