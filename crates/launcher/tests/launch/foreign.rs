//! Binds of what another container has.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::fixture::{Bundle, Sleeper, run_exec};

crate::tests![
    another_containers_tmpfs,
    another_containers_files,
    of_the_own_namespace,
    links_do_not_lead_out,
    a_process_that_is_gone,
];

fn source(sleeper: &Sleeper, path: &str) -> String {
    format!("/proc/{}/root{path}", sleeper.process.pid)
}

/// As docker's `--ipc container:NAME`.
fn another_containers_tmpfs() {
    let mut first = Bundle::new();
    let sleeper = Sleeper::start(&mut first);
    run_exec(sleeper.exec(&first, "echo one > /dev/shm/one"));
    let script = "cat /dev/shm/one; echo two > /dev/shm/two; ls -A /proc/self/cwd/tmp; \
                  readlink /proc/self/cwd";
    let mut second = Bundle::sh(script);
    let mounts = second.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|mount| mount["destination"] != "/dev/shm");
    fs::write(second.root().join("tmp/mine"), "").unwrap();
    let shm = source(&sleeper, "/dev/shm");
    second.bind(Path::new(&shm), "/dev/shm", &["rbind", "nosuid", "nodev"]);
    let output = second.run();
    assert_eq!(output.code, 0, "{output:?}");
    assert!(output.stdout.starts_with("one\nmine\n/\n"), "{output:?}");
    let back = run_exec(sleeper.exec(&first, "cat /dev/shm/two; ls /tmp")).stdout;
    assert_eq!(back, "two\n");
}

fn another_containers_files() {
    let mut first = Bundle::new();
    let sleeper = Sleeper::start(&mut first);
    run_exec(sleeper.exec(&first, "echo text > /tmp/file"));
    let mut second = Bundle::sh("cat /file; echo x > /file || echo refused");
    let file = source(&sleeper, "/tmp/file");
    second.bind(Path::new(&file), "/file", &["bind", "ro"]);
    assert_eq!(second.stdout(), "text\nrefused\n");
}

fn of_the_own_namespace() {
    let mut bundle = Bundle::sh("cat /data/file");
    let data = bundle.host_dir("data");
    fs::write(data.join("file"), "text").unwrap();
    let source = format!("/proc/{}/root{}", std::process::id(), data.display());
    bundle.bind(Path::new(&source), "/data", &["rbind"]);
    assert_eq!(bundle.stdout(), "text");
}

fn links_do_not_lead_out() {
    let secret = Bundle::new();
    let host = secret.host_dir("host");
    fs::write(host.join("file"), "secret").unwrap();
    let mut first = Bundle::new();
    symlink(&host, first.root().join("absolute")).unwrap();
    symlink("../../../../../../../..", first.root().join("relative")).unwrap();
    symlink("/proc/1/root", first.root().join("magic")).unwrap();
    fs::write(first.root().join("inside"), "").unwrap();
    let sleeper = Sleeper::start(&mut first);
    for (path, wanted) in [
        ("/absolute".to_owned(), None),
        ("/magic".to_owned(), None),
        (format!("/..{}", host.display()), None),
        ("/relative".to_owned(), Some("inside")),
        ("".to_owned(), Some("inside")),
    ] {
        let mut second = Bundle::sh("ls /data");
        second.bind(Path::new(&source(&sleeper, &path)), "/data", &["bind"]);
        match wanted {
            Some(wanted) => assert!(second.stdout().contains(wanted), "{path}"),
            None => {
                let error = second.refused().to_string();
                assert!(error.contains("to rootfs at \"/data\""), "{path}: {error}");
            }
        }
    }
}

fn a_process_that_is_gone() {
    let mut first = Bundle::new();
    let sleeper = Sleeper::start(&mut first);
    let source = source(&sleeper, "/dev/shm");
    drop(sleeper);
    let mut second = Bundle::sh("true");
    second.bind(Path::new(&source), "/data", &["bind"]);
    let error = second.refused().to_string();
    assert!(error.contains("find the process"), "{error}");
}
