//! Health checks.

use super::super::Subject;
use super::super::told::event;
use crate::container::HealthStatus;
use crate::spec::{ContainerSpec, HealthConfig};

const MS: i64 = 1_000_000;

fn checked(mut spec: ContainerSpec, test: &[&str]) -> ContainerSpec {
    spec.config.healthcheck = Some(HealthConfig {
        test: test.iter().map(|&word| word.to_owned()).collect(),
        interval: 100 * MS,
        timeout: 20_000 * MS,
        retries: 2,
        ..HealthConfig::default()
    });
    spec
}

pub(super) async fn healthy_and_unhealthy(s: Subject) {
    if !s.can.health {
        return;
    }
    let mut listener = s.listen();
    let script = "touch /ok; while [ ! -f /break ]; do sleep 0.02; done; rm /ok; sleep 1000 & wait";
    let spec = checked(s.sh(script), &["CMD-SHELL", "echo looking; test -f /ok"]);
    let id = s.launch(spec).await;
    let health = s
        .inspect(&id)
        .await
        .state
        .health
        .expect("its health is checked");
    assert!(matches!(
        health.status,
        HealthStatus::Starting | HealthStatus::Healthy
    ));
    event(&mut listener, &id, "health_status: healthy").await;
    let health = s.inspect(&id).await.state.health.unwrap();
    assert_eq!(
        (health.status, health.failing_streak),
        (HealthStatus::Healthy, 0)
    );
    let last = health.log.last().unwrap();
    assert_eq!((last.exit_code, last.output.as_str()), (0, "looking\n"));
    assert!(last.end >= last.start);
    s.exec(&id, s.exec_spec(&["touch", "/break"])).await;
    event(&mut listener, &id, "health_status: unhealthy").await;
    let health = s.inspect(&id).await.state.health.unwrap();
    assert_eq!(health.status, HealthStatus::Unhealthy);
    assert!(health.failing_streak >= 2, "{health:?}");
    assert!(health.log.len() <= 5);
    s.exec(&id, s.exec_spec(&["touch", "/ok"])).await;
    event(&mut listener, &id, "health_status: healthy").await;
    assert_eq!(s.inspect(&id).await.state.health.unwrap().failing_streak, 0);
}

pub(super) async fn failures_in_the_start_period_do_not_count(s: Subject) {
    if !s.can.health {
        return;
    }
    let mut spec = checked(s.spec(&["sleep", "1000"]), &["CMD", "false"]);
    let config = spec.config.healthcheck.as_mut().unwrap();
    config.start_period = 600_000 * MS;
    config.start_interval = 20 * MS;
    let id = s.launch(spec).await;
    let container = s
        .until(&id, "five checks failed", |container| {
            container
                .state
                .health
                .as_ref()
                .is_some_and(|health| health.log.len() >= 5)
        })
        .await;
    let health = container.state.health.unwrap();
    assert_eq!(
        (health.status, health.failing_streak),
        (HealthStatus::Starting, 0)
    );
}

pub(super) async fn turned_off(s: Subject) {
    if !s.can.health {
        return;
    }
    let id = s
        .launch(checked(s.spec(&["sleep", "1000"]), &["NONE"]))
        .await;
    assert_eq!(s.inspect(&id).await.state.health, None);
    let id = s.sleeper().await;
    assert_eq!(s.inspect(&id).await.state.health, None, "none is asked for");
}

pub(super) async fn a_check_that_hangs_or_cannot_run(s: Subject) {
    if !s.can.health {
        return;
    }
    let mut spec = checked(s.spec(&["sleep", "1000"]), &["CMD", "sleep", "500"]);
    spec.config.healthcheck.as_mut().unwrap().timeout = 100 * MS;
    let id = s.launch(spec).await;
    let container = s
        .until(&id, "it is unhealthy", |container| {
            container
                .state
                .health
                .as_ref()
                .is_some_and(|h| h.status == HealthStatus::Unhealthy)
        })
        .await;
    let health = container.state.health.unwrap();
    let last = health.log.last().unwrap();
    assert_eq!(last.exit_code, -1);
    assert!(last.output.contains("exceeded timeout"), "{last:?}");
    let id = s
        .launch(checked(s.spec(&["sleep", "1000"]), &["CMD", "/nosuch"]))
        .await;
    s.until(&id, "it is unhealthy", |container| {
        container
            .state
            .health
            .as_ref()
            .is_some_and(|h| h.status == HealthStatus::Unhealthy)
    })
    .await;
}

/// Each run begins anew, and a container that ended is not checked.
pub(super) async fn checks_end_with_the_run(s: Subject) {
    if !s.can.health {
        return;
    }
    let id = s
        .launch(checked(s.spec(&["sleep", "1000"]), &["CMD", "true"]))
        .await;
    let mut listener = s.listen();
    event(&mut listener, &id, "health_status: healthy").await;
    s.kill(&id, "KILL").await;
    s.ended(&id).await;
    s.start(&id).await;
    let mut listener = s.listen();
    event(&mut listener, &id, "health_status: healthy").await;
}
