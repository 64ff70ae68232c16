//! What a machine holds that idles.

use std::fs;

use coracle_vmm::conformance::Bench;
use coracle_vmm::{Accelerator, Machine};

/// Memory that would come back with a process' end, in bytes.
fn private(pid: i32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("Private_"));
    let sizes = lines.filter_map(|line| line.split_whitespace().nth(1));
    sizes.map(|size| size.parse::<u64>().unwrap() * 1024).sum()
}

async fn shed(machine: &dyn Machine) -> bool {
    let before = private(machine.pid());
    let shed = machine.shed().await.unwrap();
    if shed {
        let after = private(machine.pid());
        assert!(after + (8 << 20) < before, "{before} {after}");
    }
    shed
}

/// With one processor and with several, of which each has its own part of the code.
pub(crate) async fn gives_its_translated_code_back(bench: &Bench<'_>) {
    for cpus in [1, 3] {
        let mut spec = bench.spec(&format!("idle{cpus}"));
        spec.shape.accelerator = Accelerator::Tcg;
        spec.shape.cpus = cpus;
        let (machine, mut talk) = bench.boot(spec).await;
        machine.pause().await.unwrap();
        assert!(!machine.shed().await.unwrap(), "a paused machine");
        machine.resume().await.unwrap();
        assert!(shed(machine.as_ref()).await);
        assert_eq!(talk.ask("ping").await.unwrap(), "pong");
        assert!(!shed(machine.as_ref()).await, "twice");
        // What is translated anew works: also where it is taken away while the guest works.
        let ask = async {
            for _ in 0..20 {
                for line in ["touch 20", "disks", "nics", "random", "memory"] {
                    assert_ne!(talk.ask(line).await.unwrap(), "error", "{line}");
                }
            }
        };
        let again = async {
            for _ in 0..20 {
                machine.shed().await.unwrap();
            }
        };
        tokio::join!(ask, again);
        // Also where nobody waits for the end of it.
        let left = tokio::time::timeout(std::time::Duration::ZERO, machine.shed());
        drop(left.await);
        assert_eq!(talk.ask("ping").await.unwrap(), "pong");
        machine.kill().await.unwrap();
    }
}
