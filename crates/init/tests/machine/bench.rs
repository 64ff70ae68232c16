//! How long a container takes in a copy of a template.

use std::time::{Duration, Instant};

use coracle_task::{Rootfs, TaskConfig};
use coracle_vmm::Vmm;

use crate::fixture::{Bench, OUTPUT, config, finish, setup};

/// Copies that are timed.
const ROUNDS: usize = 9;

/// The names of the steps, in wall time and in processor time of the machine.
const STEPS: [&str; 7] = [
    "copy to agent",
    "setup without disks",
    "disks",
    "create",
    "start",
    "exit",
    "in all",
];

/// Prints medians. In one request each, setup and start take two round trips less.
pub(crate) async fn run(bench: &Bench) {
    let template = bench.template().await;
    let (config, setup) = (without(config(&["true"])), setup());
    let mut basics = setup.clone();
    let roots = std::mem::take(&mut basics.roots);
    let mut steps: [Vec<(Duration, Duration)>; STEPS.len()] = Default::default();
    let mut whole = Vec::new();
    for round in 0..2 * ROUNDS {
        let spec = bench.spec();
        let begin = Instant::now();
        let machine = bench.vmm.clone_from(&template, spec).await.unwrap();
        let guest = bench.connect(machine).await;
        let pid = guest.machine.pid();
        if round % 2 == 0 {
            guest.agent.setup(&setup).await.unwrap();
            let started = guest.agent.run("c", &config, OUTPUT).await.unwrap();
            assert_eq!(finish(started).await.exited.code, 0);
            whole.push((begin.elapsed(), used(pid)));
            guest.machine.kill().await.unwrap();
            continue;
        }
        let mut last = (begin, Duration::ZERO);
        let mut at = 0;
        let mut lap = || {
            let now = (Instant::now(), used(pid));
            steps[at].push((now.0 - last.0, now.1 - last.1));
            last = now;
            at += 1;
        };
        lap();
        guest.agent.setup(&basics).await.unwrap();
        lap();
        guest.agent.add_root(&roots[0]).await.unwrap();
        lap();
        let created = guest.agent.create("c", &config, OUTPUT).await.unwrap();
        lap();
        let started = created.start().await.unwrap();
        lap();
        assert_eq!(finish(started).await.exited.code, 0);
        lap();
        steps[6].push((begin.elapsed(), used(pid)));
        guest.machine.kill().await.unwrap();
    }
    for (name, times) in STEPS.iter().zip(&mut steps) {
        print(name, times);
    }
    print("in two requests", &mut whole);
}

fn print(name: &str, times: &mut [(Duration, Duration)]) {
    let mut column = |column: fn(&(Duration, Duration)) -> Duration| {
        times.sort_by_key(column);
        let median = times.get(times.len() / 2).map(column).unwrap_or_default();
        let least = times.first().map(column).unwrap_or_default();
        format!("{:.0?} (least {:.0?})", median, least)
    };
    let (wall, cpu) = (column(|it| it.0), column(|it| it.1));
    println!("{name}: {wall}, processor {cpu}");
}

/// How much processor time a process' threads have used.
fn used(pid: i32) -> Duration {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let nanos = threads.filter_map(|thread| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

/// Leaves out what `CORACLE_TEST_WITHOUT` names, to see what it costs.
fn without(mut config: TaskConfig) -> TaskConfig {
    let names = std::env::var("CORACLE_TEST_WITHOUT").unwrap_or_default();
    for name in names.split(',') {
        let linux = config.spec.linux_mut().as_mut().unwrap();
        match name {
            "seccomp" => {
                linux.set_seccomp(None);
            }
            "masks" => {
                linux.set_masked_paths(None);
                linux.set_readonly_paths(None);
            }
            "resources" => {
                linux.set_resources(None);
            }
            "mounts" => {
                config.spec.set_mounts(None);
            }
            "overlay" => config.rootfs = Rootfs::Bind("/run/coracle/c/image".into()),
            _ => {}
        }
    }
    config
}
