//! Beginning and end.

use std::time::{Duration, Instant};

use super::{Bench, PATIENCE, Talk, tests};
use crate::error::Error;
use crate::machine::End;
use crate::spec::{Accelerator, Arch};

tests![
    a_machine_boots_and_answers,
    a_kill_ends_it_and_everybody_learns,
    a_stranger_s_kill_is_noticed_at_once,
    a_guest_that_powers_off_or_panics_ends,
    a_dropped_machine_is_gone,
    a_paused_machine_is_silent,
    a_kernel_that_is_none_is_told,
    what_no_machine_can_have_is_refused,
    the_agent_s_stream_can_be_the_caller_s,
    memory_is_asked_back,
];

fn alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

async fn a_machine_boots_and_answers(bench: &Bench<'_>) {
    let (machine, mut talk) = bench.boot(bench.spec("boots")).await;
    let memory: u64 = talk.ask("memory").await.unwrap().parse().unwrap();
    assert!((200 << 20..256 << 20).contains(&memory), "{memory}");
    assert!(alive(machine.pid()));
    let console = std::fs::read_to_string(bench.dir.join("boots.console")).unwrap();
    assert!(console.contains("agent: port"), "{console}");
}

async fn a_kill_ends_it_and_everybody_learns(bench: &Bench<'_>) {
    let template = bench.template().await;
    let (machine, _talk) = bench.clone(&template, bench.spec("killed")).await;
    let (one, two, killed) = tokio::join!(machine.wait(), machine.wait(), machine.kill());
    killed.unwrap();
    assert_eq!((one.end, two.end), (End::Killed, End::Killed));
    assert_eq!(machine.wait().await.end, End::Killed);
    assert!(!alive(machine.pid()));
    machine.kill().await.unwrap();
    assert!(machine.pause().await.is_err());
}

async fn a_stranger_s_kill_is_noticed_at_once(bench: &Bench<'_>) {
    let template = bench.template().await;
    let (machine, _talk) = bench.clone(&template, bench.spec("shot")).await;
    let pid = rustix::process::Pid::from_raw(machine.pid()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    // The kernel tells of it: nobody has to ask the machine anything.
    let exit = tokio::time::timeout(PATIENCE, machine.wait()).await;
    assert_eq!(exit.unwrap().end, End::Signal(9));
}

async fn a_guest_that_powers_off_or_panics_ends(bench: &Bench<'_>) {
    let template = bench.template().await;
    for (order, end) in [
        ("off", End::PowerOff),
        ("reboot", End::Reboot),
        ("panic", End::Reboot),
    ] {
        let (machine, mut talk) = bench.clone(&template, bench.spec(order)).await;
        assert!(talk.ask(order).await.is_err());
        let exit = tokio::time::timeout(PATIENCE, machine.wait()).await;
        assert_eq!(exit.unwrap().end, end, "{order}");
    }
}

async fn a_dropped_machine_is_gone(bench: &Bench<'_>) {
    let template = bench.template().await;
    let (machine, mut talk) = bench.clone(&template, bench.spec("dropped")).await;
    let pid = machine.pid();
    drop(machine);
    assert!(talk.ask("ping").await.is_err());
    for _ in 0..200 {
        if !std::path::Path::new(&format!("/proc/{pid}")).exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{pid} is still there");
}

async fn a_paused_machine_is_silent(bench: &Bench<'_>) {
    let template = bench.template().await;
    let (machine, mut talk) = bench.clone(&template, bench.spec("paused")).await;
    machine.pause().await.unwrap();
    {
        let mut asked = std::pin::pin!(talk.ask("ping"));
        let silent = tokio::time::timeout(Duration::from_millis(300), asked.as_mut()).await;
        assert!(silent.is_err());
        machine.resume().await.unwrap();
        assert_eq!(asked.await.unwrap(), "pong");
    }
    // Twice is no error.
    machine.resume().await.unwrap();
}

async fn a_kernel_that_is_none_is_told(bench: &Bench<'_>) {
    let mut spec = bench.spec("nokernel");
    spec.shape.kernel = bench.image("nokernel", 4096, "not a kernel");
    let error = bench.vmm.boot(spec).await.err().unwrap();
    assert!(
        matches!(error, Error::Ended(_) | Error::Invalid(_)),
        "{error}"
    );
    let mut spec = bench.spec("absent");
    spec.shape.kernel = bench.dir.join("absent");
    assert!(bench.vmm.boot(spec).await.is_err());
}

async fn what_no_machine_can_have_is_refused(bench: &Bench<'_>) {
    let changes: [fn(&mut crate::MachineSpec); 7] = [
        |spec| {
            let other = |arch: &Arch| *arch != Arch::HOST;
            spec.shape.arch = Arch::ALL.into_iter().find(other).unwrap();
            spec.shape.accelerator = Accelerator::Kvm;
        },
        |spec| spec.shape.cpus = 0,
        |spec| spec.shape.memory = 1 << 20,
        |spec| spec.shape.memory += 4096,
        |spec| spec.shape.kernel_args.push("a b".into()),
        |spec| spec.id = "a,b".into(),
        |spec| spec.id = String::new(),
    ];
    for change in changes {
        let mut spec = bench.spec("refused");
        change(&mut spec);
        let error = bench.vmm.boot(spec).await.err().unwrap();
        assert!(matches!(error, Error::Invalid(_)), "{error}");
    }
    let mut spec = bench.spec("refused");
    spec.layer = Some(bench.disk("other", 1 << 20, "", false));
    let error = bench.vmm.boot(spec).await.err().unwrap();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
}

async fn the_agent_s_stream_can_be_the_caller_s(bench: &Bench<'_>) {
    let template = bench.template().await;
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let mut talk = Talk::new(tokio::net::UnixStream::from_std(ours).unwrap());
    let mut spec = bench.spec("own");
    spec.agent = Some(theirs.into());
    let (machine, answer) = tokio::join!(bench.vmm.clone_from(&template, spec), talk.ask("ping"));
    assert_eq!(answer.unwrap(), "pong");
    assert!(machine.unwrap().agent().is_none());
}

async fn memory_is_asked_back(bench: &Bench<'_>) {
    let template = bench.template().await;
    let (machine, mut talk) = bench.clone(&template, bench.spec("memory")).await;
    let resident = || -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/statm", machine.pid())).unwrap();
        let pages: u64 = text.split(' ').nth(1).unwrap().parse().unwrap();
        pages * 4096
    };
    assert_eq!(talk.ask("touch 100").await.unwrap(), "ok");
    // What the guest has freed it reports some two seconds later.
    let start = Instant::now();
    while resident() > 120 << 20 {
        assert!(start.elapsed() < PATIENCE, "{} MiB stay", resident() >> 20);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    machine.set_memory(128 << 20).await.unwrap();
    let fewer = |text: &str| text.parse::<u64>().is_ok_and(|bytes| bytes < 120 << 20);
    talk.until("free", fewer).await.unwrap();
    machine.set_memory(256 << 20).await.unwrap();
    let more = |text: &str| text.parse::<u64>().is_ok_and(|bytes| bytes > 180 << 20);
    talk.until("free", more).await.unwrap();
    machine.set_memory(512 << 20).await.unwrap();
    let grown = |text: &str| text.parse::<u64>().is_ok_and(|bytes| bytes > 430 << 20);
    talk.until("free", grown).await.unwrap();
    assert_eq!(talk.ask("touch 300").await.unwrap(), "ok");
    machine.set_memory(256 << 20).await.unwrap();
    let fewer = |text: &str| text.parse::<u64>().is_ok_and(|bytes| bytes < 250 << 20);
    talk.until("free", fewer).await.unwrap();
    for bytes in [0, 1 << 50] {
        assert!(machine.set_memory(bytes).await.is_err());
    }
    // The template has lost nothing by it.
    let (_other, mut talk) = bench.clone(&template, bench.spec("memory2")).await;
    assert_eq!(talk.ask("touch 100").await.unwrap(), "ok");
}
