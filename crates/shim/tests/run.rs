//! Containers from start to end.

#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

mod common;

use common::*;
use coracle_task::*;

#[tokio::test]
async fn exit_codes() {
    if !can_run() {
        return;
    }
    for (script, code, signal) in [
        ("true", 0, None),
        ("exit 42", 42, None),
        ("kill -KILL $$; sleep 9", 137, None),
    ] {
        // The init of a pid namespace can't kill itself: let a child of it do so.
        let script = if code == 137 {
            "sh -c 'kill -KILL $$'; exit $?"
        } else {
            script
        };
        let mut container = Container::shell(script);
        let client = container.launch().await;
        let started = soon(client.start()).await.unwrap();
        assert!(started.pid > 0);
        let exit = soon(client.wait(None)).await.unwrap();
        assert_eq!((exit.code, exit.signal), (code, signal), "{script}");
        assert_eq!(exit.started_at, Some(started.started_at));
        assert_eq!(container.exit_record(), Some(exit.clone()));
        assert_eq!(
            soon(client.wait(None)).await.unwrap(),
            exit,
            "as often as one likes"
        );
        assert_eq!(client.state().await.unwrap().status, Status::Stopped);
        soon(client.shutdown()).await.unwrap();
        container.gone().await;
    }
}
