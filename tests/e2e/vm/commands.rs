//! What `coracle` says of machines, and the options that Docker's CLI doesn't have.

use std::io::Read;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use std::time::Duration;

use coracle_tests::output::wait_for;
use coracle_tests::{Daemon, Output, Terminal, fixture, wait_until};

use super::{Guest, cases, run, templates};

#[test]
fn commands() {
    run(cases![
        boot_logs, boot_logs_are_followed, info_tells_of_machines, kernels_and_their_parameters,
        published_sockets, the_ssh_agent,
    ]);
}

fn command(d: &Daemon, args: &[&str]) -> Command {
    let mut command = Command::new(fixture::binary("coracle"));
    command.args(args).env("DOCKER_HOST", d.host());
    command.stdin(Stdio::null());
    command
}

fn coracle(d: &Daemon, args: &[&str]) -> Output {
    coracle_tests::output::run(&mut command(d, args), b"")
}

fn boot_logs(d: &Daemon) {
    let guest = Guest::new(d, &[]);
    let log = coracle(d, &["logs", "--boot", &guest]).ok();
    // A clone's begins with its template's.
    let boot = log.find("Linux version").expect("the boot");
    let copied = log.find("virtual machine fork").expect("the copy");
    assert!(boot < copied, "{log}");
    let last = coracle(d, &["logs", "--boot", "-n", "1", &guest]).ok();
    assert_eq!(log.lines().last(), Some(last.trim_end()));
    let process = d.ok(&[
        "create", "--runtime", "process", "--network", "none", "busybox",
    ]);
    let refused = coracle(d, &["logs", "--boot", &process]);
    assert_eq!(refused.code, 1);
    refused.says("is not in a virtual machine");
    d.ok(&["rm", &process]);
}

fn boot_logs_are_followed(d: &Daemon) {
    let guest = Guest::new(d, &["--privileged"]);
    let log = command(d, &["logs", "--boot", "-f", &guest]);
    let mut log = Terminal::start(&log);
    log.expect("Linux version");
    log.expect("virtual machine fork");
    guest.exec("echo '<0>the first word' > /dev/kmsg");
    log.expect("the first word");
    guest.exec("echo '<0>the last word' > /dev/kmsg");
    log.expect("the last word");
    d.ok(&["kill", &guest]);
    assert_eq!(log.wait(), 0);
}

fn info_tells_of_machines(d: &Daemon) {
    let form = "{{.Machines.Accelerator}} {{.Machines.Reason}}";
    let told = coracle(d, &["info", "-f", form]).ok();
    assert_eq!(told.trim_end(), "tcg as coracled was told");
    let told = coracle(d, &["info", "-f", "{{index .Machines.Architectures 0}}"]).ok();
    assert_eq!(told.trim_end(), std::env::consts::ARCH);
    let status = coracle(d, &["system", "status"]).ok();
    assert!(
        status.contains("default runtime: vm\nvirtual machines: tcg"),
        "{status}"
    );
}

fn kernels_and_their_parameters(d: &Daemon) {
    let installed = d.api("GET", "/api/v1/kernels/default", None).json();
    let image = installed["image"].as_str().unwrap().to_owned();
    let line = [
        "run", "--rm", "--network", "none", "--kernel", &image, "--kernel-arg", "one=1",
        "--kernel-arg", "two", "busybox", "cat", "/proc/cmdline",
    ];
    // An image alone is a kernel where it has all built in; a distribution's needs its modules.
    if installed["modules"].as_array().is_some_and(Vec::is_empty) {
        for _ in 0..2 {
            let seen = coracle(d, &line).ok();
            assert!(seen.trim_end().ends_with("one=1 two"), "{seen}");
        }
        let all = d.api("GET", "/api/v1/kernels", None).json();
        assert_eq!(all["items"].as_array().map(Vec::len), Some(2), "{all}");
    }
    let refused = coracle(d, &["create", "--kernel-arg", "a b", "busybox"]);
    refused.says("without white space");
    let line = [
        "run", "--rm", "--network", "none", "-k", "nosuch", "busybox",
    ];
    coracle(d, &line).says("nosuch");
    if std::env::consts::ARCH == "x86_64" {
        let other = d.dir().join("Image");
        let mut image = vec![0; 56];
        image.extend(b"ARM\x64 Linux version 6.1.0-arm \0");
        std::fs::write(&other, image).unwrap();
        let other = other.to_str().unwrap();
        let line = ["run", "--rm", "--network", "none", "-k", other, "busybox"];
        coracle(d, &line).says("is one for aarch64");
    }
}

fn published_sockets(d: &Daemon) {
    crate::sockets::published(d);
}

fn the_ssh_agent(d: &Daemon) {
    let path = d.dir().join("ssh-agent");
    let agent = UnixListener::bind(&path).unwrap();
    // Linked to where `logger` speaks to.
    let script = "ln -s $SSH_AUTH_SOCK /dev/log; logger hello; echo $SSH_AUTH_SOCK";
    let line = [
        "run", "--rm", "--network", "none", "--ssh", "busybox", "sh", "-c", script,
    ];
    let mut run = command(d, &line);
    let said = coracle_tests::output::run(run.env("SSH_AUTH_SOCK", &path), b"").ok();
    assert_eq!(said.trim_end(), "/run/host-services/ssh-auth.sock");
    let mut text = String::new();
    let _ = agent.accept().unwrap().0.read_to_string(&mut text);
    assert!(text.contains("hello"), "{text:?}");
    let mut none = command(d, &line);
    let none = coracle_tests::output::run(none.env("SSH_AUTH_SOCK", "/nowhere"), b"");
    none.says("leads to no socket of an SSH agent");
}

/// By itself: pruning takes what other cases have stopped.
#[test]
fn unused_templates() {
    run(cases![templates_are_collected]);
}

fn templates_are_collected(d: &Daemon) {
    let told = || {
        let usage = d.api("GET", "/system/df", None).json();
        let all = usage["Templates"].as_array().cloned().unwrap_or_default();
        let in_use = all.iter().filter(|one| one["InUse"] == true).count();
        assert!(all.iter().all(|one| one["Size"].as_u64() > Some(1 << 20)));
        (all.len(), in_use)
    };
    wait_until("the first one is known", || told() == (1, 1));
    // Twice: what was collected is made again when it is asked for again.
    for _ in 0..2 {
        // One as large as the default machine, and a smaller one.
        let guest = Guest::new(d, &["-m", "512m", "--cpus", "1"]);
        let other = Guest::new(d, &["-m", "100m"]);
        wait_for("there is its template", Duration::from_secs(120), || {
            templates(d) == 2
        });
        wait_until("both are used", || told() == (2, 2));
        drop((guest, other));
        assert_eq!(told(), (2, 1));
        let reply = d.api("POST", "/containers/prune", None).json();
        assert!(reply["SpaceReclaimed"].as_u64() > Some(1 << 20), "{reply}");
        assert_eq!((told(), templates(d)), ((1, 1), 1));
    }
    let df = coracle(d, &["system", "df"]).ok();
    assert!(df.contains("VM Templates"), "{df}");
    assert!(df.contains("VM Root Disks"), "{df}");
    let all = coracle(d, &["system", "df", "-v"]).ok();
    assert!(all.contains("Images as disks of virtual machines"), "{all}");
    let usage = d.api("GET", "/system/df", None).json();
    // The last container that needed it is gone.
    assert_eq!(usage["RootDisks"][0]["InUse"], false, "{usage}");
    let disk = usage["RootDisks"][0]["Size"].as_u64();
    assert!(usage["LayersSize"].as_u64() > disk, "{usage}");
    let native = d.api("GET", "/api/v1/disk-usage", None).json();
    assert_eq!(native["rootDisks"].as_u64(), disk, "{native}");
    assert!(native["templates"].as_u64() > Some(1 << 20), "{native}");
}
