//! User namespaces: made by root, and by an ordinary user.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use coracle_launcher::Rootfs;
use serde_json::{Value, json};

use crate::fixture::{Bundle, Sleeper, in_own_mount_namespace, run, run_exec};

crate::tests![
    made_by_root,
    made_by_root_with_overlay,
    host_namespaces_in_a_user_namespace,
    unmapped_users_are_refused,
    joined_by_exec,
    by_an_ordinary_user,
    by_an_ordinary_user_with_subordinate_ids,
];

/// The variables by which this program is told to be the caller in a test.
const ROOTLESS: &str = "CORACLE_TEST_ROOTLESS";
const CREATE: &str = "CORACLE_TEST_CREATE";

fn mapped(bundle: &mut Bundle, maps: Value) {
    let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "user"}));
    bundle.spec["linux"]["uidMappings"] = maps.clone();
    bundle.spec["linux"]["gidMappings"] = maps;
}

fn range() -> Value {
    json!([{"containerID": 0, "hostID": 100_000, "size": 65536}])
}

/// Gives the root file system to the mapped root.
fn give(bundle: &Bundle) {
    let status = Command::new("chown")
        .args(["-hR", "100000:100000"])
        .arg(bundle.root())
        .status()
        .unwrap();
    assert!(status.success());
}

const LOOK: &str = "id -u; cat /proc/self/uid_map | tr -s ' '; grep CapEff /proc/self/status; \
                    touch /made && stat -c %u /made; echo x > /dev/null; head -c1 /dev/zero | wc -c; \
                    hostname; chown 1000 /made; wc -c </proc/keys; ls /dev/pts";

const SEEN: &str = "0\n 0 100000 65536\nCapEff:\t00000000a80425fb\n0\n1\ncrate\n0\nptmx\n";

fn made_by_root() {
    let mut bundle = Bundle::sh(LOOK);
    mapped(&mut bundle, range());
    give(&bundle);
    assert_eq!(bundle.stdout(), SEEN);
    let owner =
        std::os::unix::fs::MetadataExt::uid(&fs::metadata(bundle.root().join("made")).unwrap());
    assert_eq!(owner, 101_000);
    let mode = fs::metadata("/dev/null").unwrap().permissions();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&mode) & 0o777,
        0o666
    );
}

fn made_by_root_with_overlay() {
    let mut bundle = Bundle::sh(LOOK);
    mapped(&mut bundle, range());
    give(&bundle);
    let (upper, work) = (bundle.host_dir("upper"), bundle.host_dir("work"));
    for dir in [&upper, &work] {
        std::os::unix::fs::chown(dir, Some(100_000), Some(100_000)).unwrap();
    }
    let mut request = bundle.request();
    request.rootfs = Rootfs::Overlay {
        lower: vec![bundle.root()],
        upper: Some(upper),
        work: Some(work),
        volatile: false,
    };
    let output = run(request);
    assert_eq!(output.stdout, SEEN, "{output:?}");
}

fn host_namespaces_in_a_user_namespace() {
    let mut bundle = Bundle::sh("ls /proc/self/status /sys/class | head -1; ls /dev/mqueue");
    mapped(&mut bundle, range());
    give(&bundle);
    for kind in ["pid", "network", "ipc"] {
        bundle.drop_namespace(kind);
    }
    bundle.spec["linux"]["maskedPaths"] = json!([]);
    bundle.spec["linux"]["readonlyPaths"] = json!([]);
    let mounts = bundle.spec["mounts"].as_array_mut().unwrap();
    if !Path::new("/dev/mqueue").exists() {
        mounts.retain(|mount| mount["destination"] != "/dev/mqueue");
        bundle.args(&["sh", "-c", "ls /proc/self/status /sys/class | head -1"]);
    }
    assert!(bundle.stdout().starts_with("/proc/self/status\n"));
}

fn unmapped_users_are_refused() {
    let mut bundle = Bundle::new();
    mapped(
        &mut bundle,
        json!([{"containerID": 0, "hostID": 100_000, "size": 10}]),
    );
    give(&bundle);
    bundle.spec["process"]["user"] = json!({"uid": 11, "gid": 1});
    let error = bundle.refused().to_string();
    assert!(error.contains("change to uid 11 (is it mapped"), "{error}");
}

fn joined_by_exec() {
    let mut bundle = Bundle::new();
    mapped(&mut bundle, range());
    give(&bundle);
    let sleeper = Sleeper::start(&mut bundle);
    let script =
        "id -u; cat /proc/self/uid_map | tr -s ' '; hostname; grep CapEff /proc/self/status";
    let mut request = sleeper.exec(&bundle, script);
    assert_eq!(
        run_exec(request).stdout,
        "0\n 0 100000 65536\ncrate\nCapEff:\t00000000a80425fb\n"
    );
    request = sleeper.exec(&bundle, "id -u; id -G");
    request.user = Some("bob".into());
    assert_eq!(run_exec(request).stdout, "1000\n1001 29\n");
}

/// If this program is to be the caller in a test: does it, and tells the exit code.
pub(crate) fn run_if_child() -> Option<u8> {
    if let Some(dir) = std::env::var_os(CREATE) {
        return Some(crate::isolation::create_and_hang(Path::new(&dir)));
    }
    let dir = PathBuf::from(std::env::var_os(ROOTLESS)?);
    let spec: Value = serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
    let request = coracle_launcher::InitRequest {
        id: "rootless".into(),
        spec: serde_json::from_value(spec.clone()).unwrap(),
        text: None,
        process_differs: false,
        filter: None,
        rootfs: Rootfs::Bind(dir.join("rootfs")),
        cgroup: None,
        user: None,
        groups: Vec::new(),
        default_home: true,
        init: false,
        die_with_caller: false,
        handed: None,
        stdio: coracle_launcher::Stdio::default(),
    };
    let output = run(request);
    print!("{}", output.stdout);
    eprint!("{}", output.stderr);
    // And once more, by joining a running one.
    let mut bundle = Bundle::new();
    bundle.spec = spec;
    bundle.args(&["sleep", "1000"]);
    let mut request = bundle.request();
    request.rootfs = Rootfs::Bind(dir.join("rootfs"));
    let sleeper = Sleeper::of(request);
    print!(
        "{}",
        run_exec(sleeper.exec(&bundle, "id -u; hostname; cat /proc/1/comm")).stdout
    );
    Some(output.code as u8)
}

/// Daemon, by Debian's passwd file.
const USER: u32 = 1;

fn as_user(bundle: &Bundle) -> std::process::Output {
    fs::write(
        bundle.dir.path().join("config.json"),
        bundle.spec.to_string(),
    )
    .unwrap();
    let program = bundle.dir.path().join("program");
    fs::copy("/proc/self/exe", &program).unwrap();
    let temp = bundle.host_dir("temp");
    std::os::unix::fs::chown(&temp, Some(USER), Some(USER)).unwrap();
    Command::new(program)
        .env(ROOTLESS, bundle.dir.path())
        .env("TMPDIR", temp)
        .uid(USER)
        .gid(USER)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn by_an_ordinary_user() {
    let mut bundle = Bundle::sh("id -u; touch /made && echo made; hostname; ls /dev/pts");
    mapped(
        &mut bundle,
        json!([{"containerID": 0, "hostID": USER, "size": 1}]),
    );
    let chown = |owner: &str| {
        Command::new("chown")
            .args(["-hR", owner])
            .arg(bundle.root())
            .status()
    };
    assert!(chown("1:1").unwrap().success());
    let output = as_user(&bundle);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        stdout, "0\nmade\ncrate\nptmx\n0\ncrate\nsleep\n",
        "{output:?}"
    );
    assert!(output.status.success(), "{output:?}");
}

fn by_an_ordinary_user_with_subordinate_ids() {
    if !Path::new("/usr/bin/newuidmap").exists() {
        println!("skipped: needs newuidmap (package uidmap)");
        return;
    }
    // The host's /etc/subuid is not ours to change.
    if !in_own_mount_namespace("launch::rootless::by_an_ordinary_user_with_subordinate_ids") {
        return;
    }
    let mut bundle =
        Bundle::sh("id -u; touch /made && chown 7 /made && echo made; hostname; id -G");
    mapped(
        &mut bundle,
        json!([{"containerID": 0, "hostID": USER, "size": 1},
               {"containerID": 1, "hostID": 100_000, "size": 65535}]),
    );
    bundle.spec["process"]["user"] = json!({"uid": 0, "gid": 0, "additionalGids": [29]});
    let ids = bundle.dir.path().join("subids");
    fs::write(&ids, "daemon:100000:65536\n").unwrap();
    for file in ["/etc/subuid", "/etc/subgid"] {
        if !Path::new(file).exists() {
            println!("skipped: there is no {file}");
            return;
        }
        let status = Command::new("mount")
            .arg("--bind")
            .args([ids.as_path(), Path::new(file)])
            .status();
        assert!(status.unwrap().success());
    }
    let chown = Command::new("chown")
        .args(["-hR", "1:1"])
        .arg(bundle.root())
        .status();
    assert!(chown.unwrap().success());
    let output = as_user(&bundle);
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        stdout, "0\nmade\ncrate\n0 29\n0\ncrate\nsleep\n",
        "{output:?}"
    );
}
