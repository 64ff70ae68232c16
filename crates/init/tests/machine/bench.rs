//! How long a container takes in a copy of a template.

use std::time::{Duration, Instant};

use coracle_vmm::Vmm;

use crate::fixture::{Bench, OUTPUT, config, finish, setup};

/// Copies that are timed.
const ROUNDS: usize = 9;

/// Prints medians.
pub(crate) async fn run(bench: &Bench) {
    let template = bench.template().await;
    let mut steps: [Vec<Duration>; 8] = Default::default();
    for round in 0..2 * ROUNDS {
        let spec = bench.spec();
        let start = Instant::now();
        let machine = bench.vmm.clone_from(&template, spec).await.unwrap();
        let guest = bench.connect(machine).await;
        let connected = Instant::now();
        // The first parts by themselves, in half of the rounds, to see what takes how long.
        if round % 2 == 1 {
            let mut basics = setup();
            let roots = std::mem::take(&mut basics.roots);
            guest.agent.setup(&basics).await.unwrap();
            steps[5].push(connected.elapsed());
            let last = Instant::now();
            guest.agent.add_root(&roots[0]).await.unwrap();
            steps[6].push(last.elapsed());
            let last = Instant::now();
            let args = config(&["true"]);
            let created = guest.agent.create("c", &args, OUTPUT).await.unwrap();
            steps[7].push(last.elapsed());
            finish(created.start().await.unwrap()).await;
            guest.machine.kill().await.unwrap();
            continue;
        }
        guest.agent.setup(&setup()).await.unwrap();
        let ready = Instant::now();
        let started = guest
            .agent
            .run("c", &config(&["true"]), OUTPUT)
            .await
            .unwrap();
        let running = Instant::now();
        let ran = finish(started).await;
        let ended = Instant::now();
        assert_eq!(ran.exited.code, 0, "{ran:?}");
        steps[0].push(connected - start);
        steps[1].push(ready - connected);
        steps[2].push(running - ready);
        steps[3].push(ended - running);
        steps[4].push(ended - start);
        guest.machine.kill().await.unwrap();
    }
    let names = [
        "copy to agent",
        "setup",
        "run to started",
        "started to exit",
        "in all",
        "(setup without disks",
        "then the disks",
        "then create)",
    ];
    for (name, times) in names.iter().zip(&mut steps) {
        times.sort();
        println!(
            "{name}: median {:?}, least {:?}",
            times[ROUNDS / 2],
            times[0]
        );
    }
}
