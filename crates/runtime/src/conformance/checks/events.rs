//! Events: which, in which order, with what.

use super::super::Subject;
use super::super::support::soon;
use super::super::told::{actions, event};
use crate::container::RemoveOptions;
use crate::event::EventKind;

pub(super) async fn of_a_run(s: Subject) {
    let mut listener = s.listen();
    let (id, _) = s.run(s.sh("exit 3")).await;
    soon(
        "remove",
        s.runtime.remove_container(&id, RemoveOptions::default()),
    )
    .await
    .unwrap();
    let mut seen = Vec::new();
    while let Some(event) = listener.try_next() {
        if event.actor == id {
            seen.push(event);
        }
    }
    let told: Vec<&str> = seen.iter().map(|event| event.action.as_str()).collect();
    assert_eq!(told, ["create", "start", "die", "destroy"]);
    for event in &seen {
        assert_eq!(event.kind, EventKind::Container);
        assert_eq!(event.attributes["image"], s.image);
        assert!(event.attributes["name"].starts_with(&s.mark));
        for (key, value) in s.labels() {
            assert_eq!(
                event.attributes.get(&key),
                Some(&value),
                "labels are told: {event:?}"
            );
        }
    }
    assert_eq!(seen[2].attributes["exitCode"], "3");
    assert!(seen[2].attributes["execDuration"].parse::<u64>().is_ok());
}

pub(super) async fn of_one_that_removes_itself(s: Subject) {
    let mut listener = s.listen();
    let mut spec = s.sh("exit 0");
    spec.host.auto_remove = true;
    let id = s.launch(spec).await;
    event(&mut listener, &id, "destroy").await;
    let mut all = s
        .runtime
        .events()
        .subscribe(Some(jiff::Timestamp::UNIX_EPOCH));
    assert_eq!(
        actions(&mut all, &id),
        ["create", "start", "die", "destroy"]
    );
}

pub(super) async fn of_a_stop(s: Subject) {
    let id = s.polite().await;
    let mut listener = s.listen();
    s.stop(&id, 30).await;
    let kill = event(&mut listener, &id, "kill").await;
    assert_eq!(kill.attributes["signal"], "15");
    assert_eq!(
        event(&mut listener, &id, "die").await.attributes["exitCode"],
        "7"
    );
    event(&mut listener, &id, "stop").await;
    // A stop that changes nothing tells nothing.
    s.stop(&id, 30).await;
    assert!(actions(&mut listener, &id).is_empty());
}

pub(super) async fn of_a_stop_that_kills(s: Subject) {
    let id = s.sleeper().await;
    let mut listener = s.listen();
    s.stop(&id, 0).await;
    let mut signals = Vec::new();
    let mut rest = Vec::new();
    while let Some(told) = listener.try_next() {
        match told.action.as_str() {
            _ if told.actor != id => {}
            "kill" => signals.push(told.attributes["signal"].clone()),
            other => rest.push(other.to_owned()),
        }
    }
    assert_eq!(signals, ["15", "9"]);
    assert_eq!(rest, ["die", "stop"]);
}

pub(super) async fn of_a_restart(s: Subject) {
    let id = s.polite().await;
    let mut listener = s.listen();
    s.runtime
        .restart_container(&id, Default::default())
        .await
        .unwrap();
    event(&mut listener, &id, "restart").await;
    let mut all = s
        .runtime
        .events()
        .subscribe(Some(jiff::Timestamp::UNIX_EPOCH));
    let told = actions(&mut all, &id);
    let told: Vec<&str> = told
        .iter()
        .map(String::as_str)
        .filter(|action| *action != "stop")
        .collect();
    assert_eq!(told, ["create", "start", "kill", "die", "start", "restart"]);
}

pub(super) async fn of_pausing(s: Subject) {
    if !s.can.pause {
        return;
    }
    let id = s.sleeper().await;
    let mut listener = s.listen();
    s.runtime.pause_container(&id).await.unwrap();
    s.runtime.unpause_container(&id).await.unwrap();
    // What is refused tells nothing.
    assert!(s.runtime.unpause_container(&id).await.is_err());
    assert_eq!(actions(&mut listener, &id), ["pause", "unpause"]);
}

/// An event comes after what it tells is true.
pub(super) async fn what_is_told_is_true(s: Subject) {
    let mut listener = s.listen();
    let id = s.create(s.spec(&["sleep", "1000"])).await;
    event(&mut listener, &id, "create").await;
    s.inspect(&id).await;
    let runtime = s.runtime.clone();
    let starting = tokio::spawn({
        let id = id.clone();
        async move { runtime.start_container(&id).await }
    });
    event(&mut listener, &id, "start").await;
    assert_eq!(s.status(&id).await, crate::Status::Running);
    starting.await.unwrap().unwrap();
    s.kill(&id, "KILL").await;
    event(&mut listener, &id, "die").await;
    // Its end is published with what follows from it, which may take one more moment.
    s.until(&id, "it has ended", |container| {
        container.state.status == crate::Status::Exited
    })
    .await;
    s.remove(&id).await;
    event(&mut listener, &id, "destroy").await;
    assert!(s.runtime.inspect_container(&id, false).await.is_err());
}

pub(super) async fn replayed_from_a_time_on(s: Subject) {
    let (first, _) = s.run(s.spec(&["true"])).await;
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    let since = jiff::Timestamp::now();
    let (second, _) = s.run(s.spec(&["true"])).await;
    let mut all = s
        .runtime
        .events()
        .subscribe(Some(jiff::Timestamp::UNIX_EPOCH));
    assert_eq!(actions(&mut all, &first), ["create", "start", "die"]);
    let mut late = s.runtime.events().subscribe(Some(since));
    let mut told = Vec::new();
    while let Some(event) = late.try_next() {
        assert!(event.time >= since);
        assert_ne!(event.actor, first);
        if event.actor == second && event.action != "attach" {
            told.push(event.action.clone());
        }
    }
    assert_eq!(told, ["create", "start", "die"]);
    // And goes on with what comes.
    s.start(&second).await;
    event(&mut late, &second, "start").await;
}

pub(super) async fn numbered_without_a_gap(s: Subject) {
    let mut listener = s.listen();
    let runs = (0..10).map(|_| {
        let s = s.clone();
        async move {
            let (id, _) = s.run(s.spec(&["true"])).await;
            s.remove(&id).await;
        }
    });
    futures_util::future::join_all(runs).await;
    let mut last: Option<std::sync::Arc<crate::Event>> = None;
    let mut count = 0;
    while let Some(event) = listener.try_next() {
        if let Some(last) = last {
            assert_eq!(event.sequence, last.sequence + 1);
            assert!(event.time >= last.time);
        }
        last = Some(event);
        count += 1;
    }
    assert!(count >= 40, "{count}");
}
