//! Measures starts: a cold boot, a template's making, and clones of it, until the guest answers.
//! usage: start DIRECTORY [CLONES [ARCHITECTURE]]     (the template stays in DIRECTORY)

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measuring tool")]

use std::path::PathBuf;
use std::time::Instant;

use coracle_vmm::conformance::{Guest, Talk};
use coracle_vmm::{Arch, Qemu, Template, Vmm};

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
            println!("boot {running:?}, answer {:?}", start.elapsed());
            let start = Instant::now();
            let template = machine.snapshot(&place).await.unwrap();
            println!("snapshot {:?}", start.elapsed());
            template
        }
    };
    let (mut running, mut answered) = (Vec::new(), Vec::new());
    for number in 0..count {
        let mut spec = guest.machine(&qemu, &dir, &format!("clone{number}"));
        spec.user = user;
        let start = Instant::now();
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        spec.agent = Some(theirs.into());
        let mut talk = Talk::new(tokio::net::UnixStream::from_std(ours).unwrap());
        let clone = async {
            let machine = qemu.clone_from(&template, spec).await.unwrap();
            running.push(start.elapsed());
            machine
        };
        let answer = async {
            talk.ask("ping").await.unwrap();
            answered.push(start.elapsed());
        };
        let (machine, ()) = tokio::join!(clone, answer);
        if number + 1 == count {
            println!("warnings {:?}", machine.warnings());
            let line = std::fs::read(format!("/proc/{}/cmdline", machine.pid())).unwrap();
            std::fs::write(dir.join("cmdline"), line).unwrap();
        }
        machine.kill().await.unwrap();
    }
    for (what, mut times) in [("running", running), ("answer", answered)] {
        times.sort();
        if let (Some(least), Some(median)) = (times.first(), times.get(times.len() / 2)) {
            println!("clone, {what}: least {least:?}, median {median:?}");
        }
    }
}
