//! Servers that misbehave, and logins.

use std::io::Write;
use std::os::unix::net::UnixListener;

use crate::harness::{Daemon, binary, finish};

/// What comes of a command against a server that answers with these bytes and closes.
async fn answered(bytes: &'static [u8], line: &str) -> crate::harness::Done {
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("s");
    let listener = UnixListener::bind(&socket).unwrap();
    let server = std::thread::spawn(move || {
        // The first connection only; the rest is refused with the listener.
        let (mut stream, _) = listener.accept().unwrap();
        let _ = std::io::Read::read(&mut stream, &mut [0; 65536]);
        let _ = stream.write_all(bytes);
    });
    let mut command = binary(home.path());
    command
        .env("CORACLE_HOST", format!("unix://{}", socket.display()))
        .args(line.split_whitespace());
    let done = finish(command, b"").await;
    server.join().unwrap();
    done
}

#[tokio::test]
async fn nonsense_from_the_server_is_an_error() {
    for bytes in [
        &b""[..],
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[",
        b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nnonsense",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\noops",
        b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n",
    ] {
        let shown = String::from_utf8_lossy(bytes);
        let error = answered(bytes, "ps").await.fails(1);
        assert!(error.starts_with("coracle: "), "{shown:?}: {error}");
        assert!(!error.contains("panicked"), "{shown:?}: {error}");
        let error = answered(bytes, "run busybox").await.fails(125);
        assert!(!error.contains("panicked"), "{shown:?}: {error}");
    }
}

#[tokio::test]
async fn the_servers_words_are_told() {
    let bytes = b"HTTP/1.1 409 Conflict\r\nContent-Length: 16\r\n\r\n{\"message\":\"no\"}";
    assert_eq!(answered(bytes, "ps").await.fails(1), "coracle: no\n");
}

#[tokio::test]
async fn logins_are_kept_and_forgotten() {
    let recorder = crate::recorder::Recorder::start(None);
    let words = ["login", "-u", "me", "--password-stdin", "localhost:5000"];
    let done = recorder.feed(&words, b"secret\n").await;
    assert_eq!(done.out, "Login Succeeded\n", "{done:?}");
    assert!(!(done.out + &done.err).contains("secret"));
    let request = recorder.requests().pop().unwrap();
    assert_eq!(request.body["username"], "me");
    assert_eq!(request.body["password"], "secret");
    assert_eq!(request.body["serveraddress"], "localhost:5000");
    let file = recorder.home().join(".docker/config.json");
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(
        kept.contains("\"localhost:5000\"") && kept.contains("bWU6c2VjcmV0"),
        "{kept}"
    );
    // What is kept is sent along.
    recorder.run(&["pull", "-q", "localhost:5000/x"]).await;
    let request = recorder.requests().pop().unwrap();
    let header = request.registry_auth.unwrap();
    let auth = coracle_docker::auth::AuthConfig::from_header(&header)
        .unwrap()
        .unwrap();
    assert_eq!(
        (auth.username.as_str(), auth.password.as_str()),
        ("me", "secret")
    );
    recorder.run(&["pull", "-q", "elsewhere:5000/x"]).await;
    assert_eq!(recorder.requests().pop().unwrap().registry_auth, None);
    let done = recorder.run(&["logout", "localhost:5000"]).await;
    assert_eq!(done.out, "Removing login credentials for localhost:5000\n");
    assert!(!std::fs::read_to_string(&file).unwrap().contains("bWU6"));
    let done = recorder.run(&["logout", "localhost:5000"]).await;
    assert_eq!(done.out, "Not logged in to localhost:5000\n");
}

#[tokio::test]
async fn a_login_wants_both() {
    let daemon = Daemon::start();
    let error = daemon
        .feed(&["login", "--password-stdin", "x"], b"p")
        .await
        .fails(1);
    assert!(
        error.contains("--username") && error.contains("hint: "),
        "{error}"
    );
    daemon
        .feed(&["login", "-u", "me", "--password-stdin", "x"], b"\n")
        .await
        .fails(1);
    let error = daemon
        .feed(&["login", "-u", "me", "x"], b"p\n")
        .await
        .fails(1);
    assert!(error.contains("no terminal"), "{error}");
}
