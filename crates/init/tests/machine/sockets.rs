//! Sockets both ways, and identities.

use coracle_guest::{Event, Listen, Target};
use coracle_task::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{Guest, OUTPUT, config, exec, finish, shell};

crate::tests![dials, listens];

async fn dials(guest: &Guest) {
    let agent = &guest.agent;
    let script = "nc -l -p 8080 -e cat; sleep 1000";
    let started = agent.run("c", &shell(script), OUTPUT).await.unwrap();
    let mut channel = loop {
        let address = "127.0.0.1:8080".parse().unwrap();
        match agent.dial(&Target::Tcp(address)).await {
            Ok(channel) => break channel,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Internal, "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    channel.write_all(b"over there").await.unwrap();
    let mut answer = [0; 10];
    channel.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"over there");
    let target = Target::Unix {
        container: Some("c".into()),
        path: "/none".into(),
    };
    assert_eq!(
        agent.dial(&target).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    agent.kill_all("c", 9).await.unwrap();
    finish(started).await;
}

async fn listens(guest: &Guest) {
    let agent = &guest.agent;
    let listen = Listen {
        relay: 1,
        path: "/run/relay/socket".into(),
        mode: 0o666,
        uid: 0,
        gid: 0,
    };
    agent.listen(&listen).await.unwrap();
    let started = agent
        .run("c", &config(&["sleep", "1000"]), OUTPUT)
        .await
        .unwrap();
    // The guest's own client: its connection comes to the host, which answers.
    let target = Target::Unix {
        container: None,
        path: listen.path.clone(),
    };
    let mut there = agent.dial(&target).await.unwrap();
    there.write_all(b"ping").await.unwrap();
    let event = agent.event().await.unwrap();
    let Event::Connected {
        relay: 1,
        connection,
    } = event
    else {
        panic!("{event:?}");
    };
    assert!(agent.accept(1, connection + 1).await.is_err());
    let mut here = agent.accept(1, connection).await.unwrap();
    let mut bytes = [0; 4];
    here.read_exact(&mut bytes).await.unwrap();
    here.write_all(b"pong").await.unwrap();
    there.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes, b"pong");
    here.shutdown().await.unwrap();
    assert_eq!(there.read(&mut bytes).await.unwrap(), 0);
    agent.unlisten(1).await.unwrap();
    assert!(agent.unlisten(1).await.is_err());
    assert!(agent.dial(&target).await.is_err());
    let alive = agent
        .exec("c", &exec("e", &["true"]), OUTPUT)
        .await
        .unwrap();
    assert_eq!(finish(alive).await.exited.code, 0);
    agent.delete("c").await.unwrap();
    finish(started).await;
}
