//! What a QEMU may and may not do, as seen from the host; and its end with its parent's.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use coracle_vmm::conformance::{Guest, Talk};
use coracle_vmm::{Accelerator, Arch, Machine, MachineSpec, Qemu, Template, Vmm};

/// How long anything may take before it counts as never.
const PATIENCE: Duration = Duration::from_secs(120);

/// By this argument this program is a child that starts a machine, and waits to be killed.
pub(crate) const CHILD: &str = "--child";

/// Where the guest was made before, for this program as another user.
pub(crate) const GUEST: &str = "CORACLE_TEST_GUEST";

/// Starts a clone, and makes the template that it needs; also for other tests.
async fn clone(
    qemu: &Qemu,
    guest: &Guest,
    dir: &Path,
    user: Option<(u32, u32)>,
) -> Box<dyn Machine> {
    let spec = |id: &str| -> MachineSpec {
        let mut spec = guest.machine(qemu, dir, id);
        spec.user = user;
        spec
    };
    let place = dir.join("template");
    let key = qemu.key(&spec("key").shape).unwrap();
    let template = match Template::open(&place, &key) {
        Ok(template) => template,
        Err(_) => {
            let mut spec = spec("template");
            spec.template = true;
            let machine = qemu.boot(spec).await.unwrap();
            Talk::new(machine.agent().unwrap())
                .ask("ping")
                .await
                .unwrap();
            machine.snapshot(&place).await.unwrap()
        }
    };
    let machine = qemu.clone_from(&template, spec("confined")).await.unwrap();
    let mut talk = Talk::new(machine.agent().unwrap());
    assert_eq!(talk.ask("ping").await.unwrap(), "pong");
    machine
}

fn status(pid: i32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let words = line.unwrap().trim_start_matches(':').split_whitespace();
    words.collect::<Vec<_>>().join(" ")
}

pub(crate) async fn holds_nothing_it_does_not_need(qemu: &Qemu, guest: &Guest, dir: &Path) {
    let root = rustix::process::geteuid().is_root();
    let user = root.then_some((77_001, 77_001));
    // Something that must not be inherited, though nobody marked it.
    let leak = fs::File::open("/etc/passwd").unwrap();
    rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
    let machine = clone(qemu, guest, dir, user).await;
    let pid = machine.pid();
    assert_eq!(machine.warnings(), Vec::<String>::new());
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status(pid, set), "0000000000000000", "{set}");
    }
    assert_eq!(status(pid, "NoNewPrivs"), "1");
    assert_eq!(status(pid, "Seccomp"), "2");
    if root {
        assert_eq!(status(pid, "Uid"), "77001 77001 77001 77001");
        assert_eq!(status(pid, "Gid"), "77001 77001 77001 77001");
        assert_eq!(status(pid, "Groups"), "");
        assert_eq!(status(pid, "CapBnd"), "0000000000000000");
    }
    for kind in ["mnt", "pid", "net", "ipc", "uts"] {
        let of = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
        assert_ne!(of("self"), of(&pid.to_string()), "{kind}");
    }
    let interfaces = fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap();
    assert_eq!(interfaces.lines().count(), 3, "{interfaces}");

    // What it has open, by kinds.
    let mut open = BTreeSet::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).unwrap() {
        let target = fs::read_link(entry.unwrap().path()).unwrap();
        let target = target.to_string_lossy();
        open.insert(target.split(':').next().unwrap().to_owned());
    }
    let ram = dir.join("template/ram");
    let state = dir.join("template/state");
    let known = ["/dev/null", "anon_inode", "pipe", "socket"].map(str::to_owned);
    for target in &open {
        let file = [&ram, &state]
            .iter()
            .any(|path| path.ends_with(target.trim_start_matches('/')));
        let in_dir = target.ends_with("/ram") || target.ends_with("/state");
        assert!(known.contains(target) || file || in_dir, "{target} is open");
    }

    // What it sees of files.
    let inside = |path: &str| PathBuf::from(format!("/proc/{pid}/root{path}"));
    let top: BTreeSet<_> = fs::read_dir(inside("/"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let expected = [
        "bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "etc", "nix", "gnu",
    ];
    for name in &top {
        assert!(expected.contains(&name.as_str()), "/{name} is there");
    }
    let settings: Vec<_> = fs::read_dir(inside("/etc"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(settings, ["ld.so.cache"]);
    let mounts = fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
    for mount in mounts.lines() {
        let options = mount.split(' ').nth(3).unwrap();
        assert!(options.split(',').any(|option| option == "ro"), "{mount}");
    }
    machine.kill().await.unwrap();
    drop(leak);
}

/// What this program does as the child: starts a machine, tells its pid, and waits.
pub(crate) async fn child(qemu: &Qemu, guest: &Guest, dir: &Path) {
    let user = rustix::process::geteuid()
        .is_root()
        .then_some((77_001, 77_001));
    let machine = clone(qemu, guest, dir, user).await;
    fs::write(dir.join("pid.new"), machine.pid().to_string()).unwrap();
    fs::rename(dir.join("pid.new"), dir.join("pid")).unwrap();
    machine.wait().await;
}

pub(crate) fn dies_with_its_parent(dir: &Path) {
    let mut parent = Command::new("/proc/self/exe")
        .arg0("machines")
        .arg(CHILD)
        .arg(dir)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let start = Instant::now();
    let pid: i32 = loop {
        if let Ok(text) = fs::read_to_string(dir.join("pid")) {
            break text.parse().unwrap();
        }
        assert!(start.elapsed() < PATIENCE, "no machine came");
        assert!(parent.try_wait().unwrap().is_none(), "the parent has ended");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status(pid, "Name").starts_with("qemu"));
    parent.kill().unwrap();
    parent.wait().unwrap();
    let start = Instant::now();
    while Path::new(&format!("/proc/{pid}/exe")).exists() {
        assert!(start.elapsed() < PATIENCE, "{pid} lives on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) async fn an_accelerator_is_chosen_and_remembered(
    qemu: &Qemu,
    guest: &Guest,
    dir: &Path,
) {
    let record = dir.join("accelerator.json");
    let spec = |accelerator| {
        let console = dir.join("probe.console");
        let mut spec = MachineSpec::new(
            guest.shape(accelerator, qemu.console(Arch::HOST)),
            "probe",
            console,
        );
        spec.user = rustix::process::geteuid()
            .is_root()
            .then_some((77_001, 77_001));
        spec
    };
    let ready = |stream| -> std::pin::Pin<Box<dyn Future<Output = std::io::Result<()>> + Send>> {
        Box::pin(async move { Talk::new(stream).ask("ping").await.map(drop) })
    };
    let start = Instant::now();
    let chosen = coracle_vmm::choose(qemu, &record, &spec, &ready)
        .await
        .unwrap();
    println!(
        "{}: {} ({:?})",
        chosen.accelerator,
        chosen.reason,
        start.elapsed()
    );
    assert!(
        chosen.version.starts_with("QEMU emulator version"),
        "{}",
        chosen.version
    );
    if !Path::new("/dev/kvm").exists() {
        assert_eq!(chosen.accelerator, Accelerator::Tcg);
    }
    // It is read, not tried again: a machine would have a console.
    let _ = fs::remove_file(dir.join("probe.console"));
    let again = coracle_vmm::choose(qemu, &record, &spec, &ready)
        .await
        .unwrap();
    assert_eq!(again, chosen);
    assert!(!dir.join("probe.console").exists());
    // What can't be read, or is another boot's, is not believed.
    fs::write(
        &record,
        fs::read_to_string(&record)
            .unwrap()
            .replace("valid_for\": \"", "valid_for\": \"0"),
    )
    .unwrap();
    assert!(coracle_vmm::Choice::remembered(qemu, &record).is_none());
    fs::write(&record, "{").unwrap();
    assert!(coracle_vmm::Choice::remembered(qemu, &record).is_none());
}

/// As a user who is nobody in particular everything works but what needs a tap.
pub(crate) fn an_ordinary_user_has_the_same(dir: &Path) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let home = dir.join("user");
    fs::create_dir(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(65_534), Some(65_534)).unwrap();
    std::os::unix::fs::chown(dir, Some(65_534), None).unwrap();
    for test in [
        "holds_nothing_it_does_not_need",
        "dies_with_its_parent",
        "disks_come_and_go",
        "an_idle_machine_gives_its_translated_code_back",
    ] {
        let output = Command::new("/proc/self/exe")
            .arg0("machines")
            .arg(test)
            .uid(65_534)
            .gid(65_534)
            .env("TMPDIR", &home)
            // Who can't be expected to have a compiler.
            .env(GUEST, dir)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{words}");
        assert!(
            text.contains(&format!("test {test} ... ok")),
            "{text}{words}"
        );
    }
}

pub(crate) async fn is_put_into_its_control_groups(qemu: &Qemu, guest: &Guest, dir: &Path) {
    let name = format!("coracle-vmm-test-{}", std::process::id());
    let parents = [
        "/sys/fs/cgroup/pids",
        "/sys/fs/cgroup/memory",
        "/sys/fs/cgroup",
    ];
    let group = parents
        .iter()
        .map(|parent| Path::new(parent).join(&name))
        .find(|group| fs::create_dir(group).is_ok());
    let Some(group) = group else {
        println!("skipped: no control group can be made here");
        return;
    };
    let procs = group.join("cgroup.procs");
    if !procs.exists() {
        fs::remove_dir(&group).unwrap();
        println!("skipped: no control group can be made here");
        return;
    }
    let mut spec = guest.machine(qemu, dir, "grouped");
    spec.user = rustix::process::geteuid()
        .is_root()
        .then_some((77_001, 77_001));
    spec.cgroups = vec![procs.clone()];
    let machine = qemu.boot(spec).await.unwrap();
    let members = fs::read_to_string(&procs).unwrap();
    let pid = machine.pid().to_string();
    machine.kill().await.unwrap();
    for _ in 0..100 {
        if fs::remove_dir(&group).is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!group.exists());
    assert_eq!(members.trim(), pid);
    let mut spec = guest.machine(qemu, dir, "nogroup");
    spec.cgroups = vec![procs];
    assert!(qemu.boot(spec).await.is_err());
}
