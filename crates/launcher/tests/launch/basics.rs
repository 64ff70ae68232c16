//! Exit codes, arguments, environment, directories, commands that can't be run.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};

use coracle_launcher::{Created, Error, Kind, Rootfs, create};
use serde_json::json;

use crate::fixture::{Bundle, run, wait};

crate::tests![
    exit_codes,
    arguments_and_environment,
    home_is_found,
    working_directory_is_made,
    working_directory_must_be_one,
    commands_that_cannot_run,
    a_script_without_its_interpreter,
    nothing_happens_before_start,
    a_created_container_can_be_given_up,
    the_process_is_ours,
    overlay,
    overlay_without_upper,
    volatile_overlay,
    unsupported_is_refused_by_name,
    nothing_is_left,
    many_threads,
];

fn exit_codes() {
    for code in [0, 42, 255] {
        assert_eq!(Bundle::sh(&format!("exit {code}")).run().code, code);
    }
    assert_eq!(
        Bundle::sh("kill -9 $$; true").run().code,
        0,
        "pid 1 is immune"
    );
    let mut bundle = Bundle::sh("kill -9 $$");
    bundle.drop_namespace("pid");
    assert_eq!(bundle.run().code, 137);
}

fn arguments_and_environment() {
    let mut bundle = Bundle::new();
    bundle.args(&["printf", "<%s>", "a b", "", "ü", "$A"]);
    assert_eq!(bundle.stdout(), "<a b><><ü><$A>");
    let mut bundle = Bundle::new();
    bundle.args(&["env"]);
    bundle.spec["process"]["env"] = json!(["PATH=/bin", "X=1=2", "HOME=/x"]);
    assert_eq!(bundle.stdout(), "PATH=/bin\nX=1=2\nHOME=/x\n");
}

fn home_is_found() {
    let mut bundle = Bundle::sh("echo $HOME");
    assert_eq!(bundle.stdout(), "/root\n");
    bundle.spec["process"]["user"] = json!({"uid": 1000, "gid": 0});
    assert_eq!(bundle.stdout(), "/home/bob\n");
    bundle.spec["process"]["user"] = json!({"uid": 7, "gid": 0});
    assert_eq!(bundle.stdout(), "/\n");
    let mut request = bundle.request();
    request.default_home = false;
    assert_eq!(run(request).stdout, "\n");
}

fn working_directory_is_made() {
    let mut bundle = Bundle::sh("pwd; stat -c '%a %u' .");
    bundle.spec["process"]["cwd"] = json!("/made/for/me");
    bundle.spec["process"]["user"] = json!({"uid": 1000, "gid": 0});
    assert_eq!(bundle.stdout(), "/made/for/me\n755 0\n");
}

fn working_directory_must_be_one() {
    let mut bundle = Bundle::new();
    bundle.spec["process"]["cwd"] = json!("/etc/passwd");
    assert_eq!(
        bundle.refused().to_string(),
        "mkdir /etc/passwd: not a directory"
    );
    let mut bundle = Bundle::new();
    fs::create_dir(bundle.root().join("secret")).unwrap();
    fs::set_permissions(
        bundle.root().join("secret"),
        fs::Permissions::from_mode(0o700),
    )
    .unwrap();
    symlink("/proc/self/fd/3", bundle.root().join("leak")).unwrap();
    bundle.spec["process"]["cwd"] = json!("/leak");
    assert_eq!(bundle.refused().kind(), Kind::Setup);
}

fn commands_that_cannot_run() {
    let told = |args: &[&str]| {
        let mut bundle = Bundle::new();
        fs::write(bundle.root().join("bin/plain"), "x").unwrap();
        fs::write(bundle.root().join("bin/garbage"), "garbage").unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(bundle.root().join("bin/garbage"), mode).unwrap();
        bundle.args(args);
        let error = bundle.refused();
        (error.kind().exit_code(), error.to_string())
    };
    let not_found = "exec: \"foo\": executable file not found in $PATH";
    assert_eq!(told(&["foo", "x"]), (127, not_found.into()));
    let plain = "exec: \"plain\": executable file not found in $PATH";
    assert_eq!(told(&["plain"]), (127, plain.into()));
    let stat = "exec: \"/x\": stat /x: no such file or directory";
    assert_eq!(told(&["/x"]), (127, stat.into()));
    let denied = "exec: \"/bin/plain\": permission denied";
    assert_eq!(told(&["/bin/plain"]), (126, denied.into()));
    assert_eq!(
        told(&["/etc"]),
        (126, "exec: \"/etc\": is a directory".into())
    );
    assert_eq!(
        told(&["garbage"]),
        (126, "exec /bin/garbage: exec format error".into())
    );
}

fn a_script_without_its_interpreter() {
    let mut bundle = Bundle::new();
    let script = bundle.root().join("bin/script");
    fs::write(&script, "#!/bin/none\n").unwrap();
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    bundle.args(&["script"]);
    let error = bundle.refused();
    assert_eq!(error.kind(), Kind::CommandNotFound);
    assert_eq!(
        error.to_string(),
        "exec /bin/script: no such file or directory"
    );
}

fn nothing_happens_before_start() {
    let mut bundle = Bundle::sh("echo x > /out/file");
    let out = bundle.host_dir("out");
    bundle.bind(&out, "/out", &["rbind"]);
    let created = create(&bundle.request()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert!(!out.join("file").exists());
    let comm = fs::read(format!("/proc/{}/root/etc/passwd", created.pid())).unwrap();
    assert!(comm.starts_with(b"root:"));
    let process = created.start().unwrap();
    assert_eq!(wait(&process), 0);
    assert!(out.join("file").exists());
}

fn a_created_container_can_be_given_up() {
    let created = create(&Bundle::new().request()).unwrap();
    let pid = created.pid();
    drop(created);
    assert!(!fs::exists(format!("/proc/{pid}")).unwrap());
}

fn the_process_is_ours() {
    let bundle = Bundle::new();
    let created = create(&bundle.request()).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", created.pid())).unwrap();
    assert!(
        status.contains(&format!("PPid:\t{}\n", std::process::id())),
        "{status}"
    );
    assert!(
        created
            .pidfd()
            .is_some_and(|fd| rustix::io::fcntl_getfd(fd.as_fd()).is_ok())
    );
    assert_eq!(created.start().map(|process| wait(&process)).unwrap(), 0);
}

fn overlay() {
    let bundle = Bundle::sh("cat /top /etc/top; echo new > /made; rm /etc/passwd");
    let top = bundle.host_dir("top");
    fs::create_dir(top.join("etc")).unwrap();
    fs::write(top.join("top"), "1 ").unwrap();
    fs::write(top.join("etc/top"), "2").unwrap();
    let mut request = bundle.request();
    request.rootfs = Rootfs::Overlay {
        lower: vec![top, bundle.root()],
        upper: Some(bundle.host_dir("upper")),
        work: Some(bundle.host_dir("work")),
        volatile: false,
    };
    let output = run(request);
    assert_eq!(
        (output.code, output.stdout.as_str()),
        (0, "1 2"),
        "{output:?}"
    );
    let upper = bundle.dir.path().join("upper");
    assert_eq!(fs::read_to_string(upper.join("made")).unwrap(), "new\n");
    assert!(bundle.root().join("etc/passwd").exists());
    assert!(!bundle.root().join("made").exists());
}

fn overlay_without_upper() {
    let bundle = Bundle::sh("echo x > /made");
    let other = bundle.host_dir("other");
    let mut request = bundle.request();
    request.rootfs = Rootfs::Overlay {
        lower: vec![bundle.root(), other],
        upper: None,
        work: None,
        volatile: false,
    };
    let output = run(request);
    assert!(
        output.stderr.contains("Read-only file system"),
        "{output:?}"
    );
}

fn volatile_overlay() {
    let bundle = Bundle::sh("echo x > /made");
    let mut request = bundle.request();
    request.rootfs = Rootfs::Overlay {
        lower: vec![bundle.root()],
        upper: Some(bundle.host_dir("upper")),
        work: Some(bundle.host_dir("work")),
        volatile: true,
    };
    assert_eq!(run(request).code, 0);
    assert!(bundle.dir.path().join("upper/made").exists());
}

fn unsupported_is_refused_by_name() {
    let refused = |path: &[&str], value: serde_json::Value| {
        let mut bundle = Bundle::new();
        let mut place = &mut bundle.spec;
        for key in path {
            place = &mut place[*key];
        }
        *place = value;
        match bundle.refused() {
            Error::Unsupported(what) => what,
            error => panic!("{error:?}"),
        }
    };
    assert_eq!(refused(&["linux", "intelRdt"], json!({})), "linux.intelRdt");
    let hook = json!([{"path": "/bin/true"}]);
    assert_eq!(
        refused(&["hooks"], json!({"poststop": hook})),
        "hooks.poststop"
    );
    assert_eq!(
        refused(&["linux", "mountLabel"], json!("x")),
        "linux.mountLabel"
    );
    let personality = json!({"domain": "LINUX", "flags": ["x"]});
    assert_eq!(
        refused(&["linux", "personality"], personality),
        "linux.personality.flags"
    );
    let selinux = refused(&["process", "selinuxLabel"], json!("x"));
    assert!(selinux.starts_with("process.selinuxLabel"));
    let mount = json!([{"destination": "/x", "type": "bind", "source": "/", "options": ["idmap"]}]);
    assert_eq!(refused(&["mounts"], mount), "mounts[/x]: option idmap");
}

fn nothing_is_left() {
    let count = |dir: &std::path::Path| {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounts = mounts.matches(dir.to_str().unwrap()).count();
        let children = fs::read_to_string(format!(
            "/proc/self/task/{}/children",
            rustix::thread::gettid().as_raw_nonzero()
        ));
        let fds = fs::read_dir("/proc/self/fd").unwrap().count();
        (mounts, children.unwrap_or_default(), fds)
    };
    let bundle = Bundle::new();
    drop(bundle.run());
    let before = count(bundle.dir.path());
    assert_eq!(before.0, 0);
    for _ in 0..5 {
        bundle.run();
        let mut broken = Bundle::new();
        broken.bind(&broken.dir.path().join("none"), "/x", &["rbind"]);
        broken.refused();
        broken.args(&["none"]);
        broken.refused();
        drop(
            create(&bundle.request())
                .and_then(Created::start)
                .map(|process| wait(&process)),
        );
    }
    assert_eq!(count(bundle.dir.path()), before);
}

fn many_threads() {
    std::thread::scope(|scope| {
        let run = |number: i32| move || Bundle::sh(&format!("exit {number}")).run().code;
        let threads: Vec<_> = (0..16).map(|number| scope.spawn(run(number))).collect();
        for (number, thread) in threads.into_iter().enumerate() {
            assert_eq!(thread.join().unwrap(), number as i32);
        }
    });
}
