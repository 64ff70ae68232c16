//! What the agent must survive.

use coracle_guest::Event;
use coracle_task::TaskConfig;

use crate::fixture::{Guest, OUTPUT, config, finish, shell};

crate::tests![
    out_of_memory,
    full_disk,
    fork_bomb,
    machine_out_of_memory,
    orphans
];

fn limited(config: &mut TaskConfig, limits: serde_json::Value) {
    let linux = config.spec.linux_mut().as_mut().unwrap();
    linux.set_resources(Some(serde_json::from_value(limits).unwrap()));
}

async fn out_of_memory(guest: &Guest) {
    let mut config = shell("x=$(yes | head -c 100000000); echo no");
    limited(
        &mut config,
        serde_json::json!({"memory": {"limit": 20 << 20, "swap": 20 << 20}}),
    );
    let started = guest.agent.run("c", &config, OUTPUT).await.unwrap();
    let event = guest.agent.event().await.unwrap();
    assert!(
        matches!(&event, Event::Oom { container } if container == "c"),
        "{event:?}"
    );
    let ran = finish(started).await;
    assert!(ran.exited.oom_killed);
    assert!(guest.agent.oom_killed("c").await.unwrap());
    guest.agent.delete("c").await.unwrap();
}

async fn full_disk(guest: &Guest) {
    let ran = guest
        .run(&shell("dd if=/dev/zero of=/big bs=1M 2>&1; echo status $?"))
        .await;
    assert!(
        ran.stdout.contains("No space left") && ran.stdout.contains("status 1"),
        "{ran:?}"
    );
    let ran = guest.run(&shell("ls -l /big; rm /big")).await;
    assert_eq!(ran.exited.code, 0, "{ran:?}");
}

async fn fork_bomb(guest: &Guest) {
    let mut config = shell("f() { f | f & }; f; sleep 1000");
    limited(&mut config, serde_json::json!({"pids": {"limit": 200}}));
    let started = guest.agent.run("c", &config, OUTPUT).await.unwrap();
    let drained = tokio::spawn(finish(started));
    let answers = async {
        for _ in 0..5 {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            guest.agent.machine_stats().await.unwrap();
        }
    };
    answers.await;
    guest.agent.kill_all("c", 9).await.unwrap();
    assert_eq!(drained.await.unwrap().exited.code, 137);
}

async fn orphans(guest: &Guest) {
    // In the machine's own process namespace, where what a container leaves becomes the agent's.
    let mut config = shell("(sleep 0.1 &) ; (sleep 0.2 &); exit 5");
    let linux = config.spec.linux_mut().as_mut().unwrap();
    let namespaces = linux.namespaces().clone().unwrap_or_default();
    let without_pid = namespaces
        .into_iter()
        .filter(|namespace| namespace.typ() != oci_spec::runtime::LinuxNamespaceType::Pid);
    linux.set_namespaces(Some(without_pid.collect()));
    // What it leaves ends while the next ones are made.
    for _ in 0..3 {
        assert_eq!(guest.run(&config).await.exited.code, 5);
    }
}

async fn machine_out_of_memory(guest: &Guest) {
    // No limit: the machine's memory is what ends it. It is the container's process that goes.
    let started = guest
        .agent
        .run("c", &config(&["tail", "/dev/zero"]), OUTPUT)
        .await
        .unwrap();
    assert_eq!(finish(started).await.exited.code, 137);
    guest.agent.delete("c").await.unwrap();
    assert_eq!(guest.run(&config(&["true"])).await.exited.code, 0);
}
