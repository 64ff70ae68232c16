//! What a shim answers to those who break its protocol, and published ports.

#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

mod common;

use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::*;
use coracle_task::frame::MAX_FRAME;
use coracle_task::frame::json_frame;
use coracle_task::*;

/// Sends this, and returns all that is answered until the shim hangs up.
fn talk(container: &Container, sent: &[u8], finish: bool) -> String {
    let mut stream = UnixStream::connect(container.socket()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    stream.write_all(sent).unwrap();
    if finish {
        stream.shutdown(std::net::Shutdown::Write).unwrap();
    }
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn hostile_frames() {
    if !can_run() {
        return;
    }
    let mut container = Container::shell("sleep 1000");
    let client = container.launch().await;
    soon(client.start()).await.unwrap();
    let hello = json_frame(&Hello { version: VERSION }).unwrap();
    let after_hello = |bytes: &[u8]| [&hello[..], bytes].concat();
    let framed = |text: &str| {
        let mut frame = u32::try_from(text.len()).unwrap().to_le_bytes().to_vec();
        frame.extend_from_slice(text.as_bytes());
        after_hello(&frame)
    };

    let too_long = u32::try_from(MAX_FRAME + 1).unwrap().to_le_bytes();
    let answer = talk(&container, &after_hello(&too_long), false);
    assert!(answer.contains("over the limit") && answer.contains("invalid_argument"));
    let answer = talk(&container, &after_hello(&[9, 0, 0, 0, b'x']), true);
    assert!(answer.contains("error"), "{answer:?}");
    for garbage in [
        "",
        "garbage",
        "{}",
        "{\"start\":5}",
        "\"reboot\"",
        "[[[[[[[[",
        "null",
    ] {
        let answer = talk(&container, &framed(garbage), false);
        assert!(
            answer.contains("malformed request"),
            "{garbage}: {answer:?}"
        );
    }
    let deep = "[".repeat(100_000);
    assert!(talk(&container, &framed(&deep), false).contains("malformed request"));
    // Something that the types allow and the verbs don't.
    let long_id = "x".repeat(1000);
    let mut config = exec(&long_id, &["true"]);
    let error = client.exec(config.clone()).await.unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::InvalidArgument));
    config.exec_id = "e".into();
    config.process.set_args(Some(Vec::new()));
    client.exec(config).await.unwrap();
    assert!(soon(client.start_exec("e")).await.is_err());
    for target in ["", "nosuch"] {
        let error = client.kill(Some(target), 9, false).await.unwrap_err();
        assert_eq!(error.kind(), Some(ErrorKind::NotFound));
        assert!(client.attach(Some(target), ALL).await.is_err());
        assert!(client.wait(Some(target)).await.is_err());
    }

    // Before the hello nothing is answered but that.
    assert_eq!(talk(&container, b"\x05\0\0\0hello", false), "");
    let answer = talk(
        &container,
        &json_frame(&Hello { version: 99 }).unwrap(),
        false,
    );
    assert!(
        answer.ends_with("{\"version\":1}"),
        "it learns our version: {answer:?}"
    );
    // Garbage in place of data: the connection ends, and the container's input doesn't.
    let attach = Request::Attach {
        target: None,
        options: ALL,
    };
    let attach = json_frame(&attach).unwrap();
    let answer = talk(
        &container,
        &after_hello(&[&attach[..], b"\x01\0\0\0\x63"].concat()),
        false,
    );
    assert!(answer.contains("done"));

    assert_eq!(client.state().await.unwrap().status, Status::Running);
    client.kill(None, 9, false).await.unwrap();
    soon(client.wait(None)).await.unwrap();
    drop(client);
    container.gone().await;
}

#[tokio::test]
async fn requests_can_be_sent_in_advance() {
    if !can_run() {
        return;
    }
    let mut container = Container::shell("exit 8");
    let client = container.launch().await;
    let mut sent = json_frame(&Hello { version: VERSION }).unwrap();
    for request in [
        Request::Start,
        Request::Wait { target: None },
        Request::State,
    ] {
        sent.extend(json_frame(&request).unwrap());
    }
    let socket = container.socket();
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = UnixStream::connect(socket).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        stream.write_all(&sent).unwrap();
        let mut answer = String::new();
        while !answer.contains("\"execs\":[]") {
            let mut some = [0; 4096];
            let n = stream.read(&mut some).unwrap();
            assert!(n > 0);
            answer.push_str(&String::from_utf8_lossy(&some[..n]));
        }
        answer
    });
    let answer = answer.await.unwrap();
    let at = |text: &str| {
        answer
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {answer}"))
    };
    assert!(at("\"started\"") < at("\"exit\"") && at("\"exit\"") < at("\"state\""));
    drop(client);
    container.gone().await;
}

#[tokio::test]
async fn published_ports() {
    if !can_run() {
        return;
    }
    // In place of the container's service.
    let service = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = service.local_addr().unwrap();
    let published = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = published.local_addr().unwrap();
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let last = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let kept = [&unused, &last].map(|socket| socket.local_addr().unwrap());

    let mut container = Container::shell("sleep 1000").with(|config| {
        config.ports = vec![ProxyPort {
            fd_index: 1,
            proto: Proto::Tcp,
            target,
        }];
        config.sockets = 3;
    });
    container.ports = vec![unused.into(), published.into(), last.into()];
    let client = container.launch().await;
    soon(client.start()).await.unwrap();
    for address in kept {
        assert!(
            std::net::TcpListener::bind(address).is_err(),
            "a port that the shim does not serve stays taken"
        );
    }
    let talk = tokio::task::spawn_blocking(move || {
        let mut one = std::net::TcpStream::connect(address).unwrap();
        let (mut other, _) = service.accept().unwrap();
        one.write_all(b"ping").unwrap();
        let mut four = [0; 4];
        other.read_exact(&mut four).unwrap();
        assert_eq!(&four, b"ping");
        other.write_all(b"pong").unwrap();
        one.read_exact(&mut four).unwrap();
        assert_eq!(&four, b"pong");
    });
    soon(talk).await.unwrap();
    client.kill(None, 9, false).await.unwrap();
    soon(client.wait(None)).await.unwrap();
    assert!(
        std::net::TcpStream::connect(address).is_err(),
        "the port is closed"
    );
    for address in kept {
        std::net::TcpListener::bind(address).unwrap();
    }
    drop(client);
    container.gone().await;
}

#[test]
fn wrong_usage_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().to_str().unwrap().to_owned();
    for (arguments, code, problem) in [
        (vec![], 2, "usage"),
        (vec!["--bundle"], 2, "usage"),
        (vec!["--bundle", &bundle, "x"], 2, "usage"),
        (vec!["--bundle", &bundle], 1, "task.json"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_coracle-shim"))
            .args(&arguments)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(problem), "{said}");
    }
}
