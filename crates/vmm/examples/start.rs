//! Measures starts: a cold boot, a template's making, and clones of it, until the guest answers, each
//! beside a QEMU that nobody confines, and that continues the same template by the same command line.
//! Prints milliseconds.
//! usage: start DIRECTORY [CLONES [ARCHITECTURE]]     (the template stays in DIRECTORY)

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool")]

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use coracle_vmm::conformance::{Guest, Talk};
use coracle_vmm::{Arch, Qemu, Template, Vmm};
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    coracle_vmm::run_if_helper();
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().unwrap());
    let count: usize = args.next().map_or(20, |text| text.parse().unwrap());
    let named = args.next().unwrap_or(Arch::HOST.to_string());
    let arch = Arch::ALL.into_iter().find(|arch| arch.as_str() == named);
    let arch = arch.unwrap();
    if !dir.join("initrd").exists() {
        Guest::make(&dir, arch).unwrap();
    }
    let guest = Guest::at(&dir, arch).unwrap();
    let user = rustix::process::geteuid()
        .is_root()
        .then_some((77_001, 77_001));
    let qemu = Qemu::discover(arch).unwrap();
    let key = qemu.key(&guest.machine(&qemu, &dir, "t").shape).unwrap();
    let place = dir.join("template");
    let template = match Template::open(&place, &key) {
        Ok(template) => template,
        Err(why) => {
            println!("{why}");
            let mut spec = guest.machine(&qemu, &dir, "template");
            spec.template = true;
            spec.user = user;
            let start = Instant::now();
            let machine = qemu.boot(spec).await.unwrap();
            let running = start.elapsed();
            let mut talk = Talk::new(machine.agent().unwrap());
            talk.ask("ping").await.unwrap();
            print("boot, running", &[running]);
            print("boot, answer", &[start.elapsed()]);
            let start = Instant::now();
            let template = machine.snapshot(&place).await.unwrap();
            println!("snapshot {:?}", start.elapsed());
            template
        }
    };
    let (mut running, mut answered, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for number in 0..=count {
        let mut spec = guest.machine(&qemu, &dir, &format!("clone{number}"));
        spec.user = user;
        let start = Instant::now();
        let (ours, theirs) = pair();
        spec.agent = Some(theirs);
        let mut talk = Talk::new(ours);
        let clone = async {
            let machine = qemu.clone_from(&template, spec).await.unwrap();
            (machine, start.elapsed())
        };
        let answer = async {
            talk.ask("ping").await.unwrap();
            start.elapsed()
        };
        let ((machine, ran), answer) = tokio::join!(clone, answer);
        let line = std::fs::read(format!("/proc/{}/cmdline", machine.pid())).unwrap();
        if number == 0 {
            println!("warnings {:?}", machine.warnings());
        }
        machine.kill().await.unwrap();
        let restored = restore(&line, &place).await;
        // What comes first finds nothing in memory.
        if number > 0 {
            running.push(ran);
            answered.push(answer);
            bare.push(restored);
        }
    }
    let named = [
        ("clone, running", running),
        ("clone, answer", answered),
        ("bare QEMU, answer", bare),
    ];
    for (what, times) in named {
        print(what, &times);
    }
}

fn print(what: &str, times: &[Duration]) {
    let millis = times.iter().map(|time| time.as_secs_f64() * 1000.0);
    println!("{what}: {:.2?}", millis.collect::<Vec<_>>());
}

/// Our end of a stream, and the one to hand on.
fn pair() -> (UnixStream, OwnedFd) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    (UnixStream::from_std(ours).unwrap(), theirs.into())
}

/// Continues the template by a QEMU that nobody confines, with a clone's command line; how long it
/// takes until the guest answers.
async fn restore(line: &[u8], template: &Path) -> Duration {
    let start = Instant::now();
    let open = |name: &str| OwnedFd::from(File::open(template.join(name)).unwrap());
    let (mut control, their_control) = pair();
    let (agent, their_agent) = pair();
    let console = OwnedFd::from(File::options().write(true).open("/dev/null").unwrap());
    let state = open("state");
    // Handed on under the numbers that they have here.
    for fd in [&their_control, &their_agent, &console, &state] {
        rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).unwrap();
    }
    let ram = template.join("ram");
    let args = line.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    let args: Vec<_> = args.filter(|arg| !arg.is_empty()).collect();
    let args = args.iter().map(|arg| match arg.split_once("fd=") {
        Some(("socket,id=control,", _)) => format!("socket,id=control,fd={}", fd(&their_control)),
        Some(("socket,id=agent,", _)) => format!("socket,id=agent,fd={}", fd(&their_agent)),
        // There are no disks: it is the console.
        Some(("", _)) => {
            let (_, set) = arg.split_once(',').unwrap();
            format!("fd={},{set}", fd(&console))
        }
        _ => arg.replace(
            "mem-path=/coracle/ram",
            &format!("mem-path={}", ram.display()),
        ),
    });
    let args: Vec<_> = args.collect();
    let mut child = Command::new(&args[0])
        .args(&args[1..])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    drop((their_control, their_agent, console));
    let commands = format!(
        r#"{{"execute": "qmp_capabilities"}}
        {{"execute": "migrate-set-capabilities", "arguments":
            {{"capabilities": [{{"capability": "x-ignore-shared", "state": true}}]}}}}
        {{"execute": "migrate-incoming", "arguments": {{"uri": "fd:{}"}}}}"#,
        fd(&state)
    );
    control.write_all(commands.as_bytes()).await.unwrap();
    Talk::new(agent).ask("ping").await.unwrap();
    let took = start.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    took
}

fn fd(fd: &OwnedFd) -> i32 {
    fd.as_raw_fd()
}
