//! The client against servers of few words.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use coracle_client::{
    AttachQuery, Client, Error, Host, ListContainersQuery, TlsOptions, Upload, WaitCondition,
};
use coracle_docker::frame::FrameKind;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

const EMPTY: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]";

/// Reads a request to the end of its head and of the body that has a length; gives its text.
async fn request(io: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let length = text.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse().unwrap())
            });
            if bytes.len() >= end + 4 + length.unwrap_or(0) {
                return Some(text);
            }
        }
        if io.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

/// Answers every request of every connection alike; counts connections.
fn serve(answer: &'static str) -> (TempDir, Client, Arc<AtomicUsize>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                while request(&mut stream).await.is_some() {
                    stream.write_all(answer.as_bytes()).await.unwrap();
                }
            });
        }
    });
    let client = Client::connect(path.to_str().unwrap()).unwrap();
    (dir, client, count)
}

async fn list(client: &Client) -> Result<usize, Error> {
    let containers = client
        .list_containers(&ListContainersQuery::default())
        .await?;
    Ok(containers.len())
}

#[tokio::test]
async fn one_connection_serves_many_requests() {
    let (_dir, client, connections) = serve(EMPTY);
    for _ in 0..10 {
        assert_eq!(list(&client).await.unwrap(), 0);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    let (a, b) = tokio::join!(list(&client), list(&client));
    assert_eq!((a.unwrap(), b.unwrap()), (0, 0));
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        loop {
            // One request a connection.
            let (mut stream, _) = listener.accept().await.unwrap();
            request(&mut stream).await.unwrap();
            stream.write_all(EMPTY.as_bytes()).await.unwrap();
        }
    });
    let client = Client::connect(path.to_str().unwrap()).unwrap();
    for _ in 0..5 {
        assert_eq!(list(&client).await.unwrap(), 0);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn errors_have_status_words_and_hint() {
    let (_dir, client, connections) = serve(
        "HTTP/1.1 404 Not Found\r\nContent-Length: 45\r\n\r\n{\"message\":\"No such container: web\"}         ",
    );
    let error = client.inspect_container("web").await.unwrap_err();
    assert_eq!(error.status(), Some(404));
    assert_eq!(error.to_string(), "No such container: web");
    assert!(error.hint().unwrap().contains("ps -a"));
    // The connection is good all the same.
    client.inspect_container("web").await.unwrap_err();
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn nobody_there_and_nonsense_are_told_apart() {
    let error = list(&Client::connect("/nosuch.sock").unwrap())
        .await
        .unwrap_err();
    assert!(error.is_no_daemon(), "{error}");
    for answer in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n[",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnull1234",
    ] {
        let (_dir, client, _) = serve(answer);
        let error = list(&client).await.unwrap_err();
        assert!(!error.is_no_daemon(), "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn lines_come_one_by_one() {
    let (_dir, client, _) = serve(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
         8\r\n{\"status\r\n6\r\n\":\"a\"}\r\n4\r\n\r\n\r\n\r\n12\r\n\n{\"status\":\"b\"}\n{\"\r\n\
         c\r\nstatus\":\"c\"}\r\n0\r\n\r\n",
    );
    let mut lines = client.pull_image("x", "latest", "", None).await.unwrap();
    let mut seen = Vec::new();
    while let Some(line) = lines.next().await.unwrap() {
        seen.push(line.status);
    }
    assert_eq!(seen, ["a", "b", "c"]);
    let (_dir, client, _) = serve("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nnonsense\n");
    let mut lines = client.pull_image("x", "latest", "", None).await.unwrap();
    assert!(lines.next().await.is_err());
}

#[tokio::test]
async fn waiting_begins_before_it_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let (go, going) = tokio::sync::oneshot::channel::<()>();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = request(&mut stream).await.unwrap();
        assert!(
            asked.starts_with("POST /v1.47/containers/web/wait?condition=next-exit "),
            "{asked}"
        );
        let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        going.await.unwrap();
        stream
            .write_all(b"10\r\n{\"StatusCode\":3}\r\n0\r\n\r\n")
            .await
            .unwrap();
    });
    let client = Client::connect(path.to_str().unwrap()).unwrap();
    let mut exit = client
        .wait_container("web", WaitCondition::NextExit)
        .await
        .unwrap();
    go.send(()).unwrap();
    assert_eq!(exit.next().await.unwrap().unwrap().status_code, 3);
}

#[tokio::test]
async fn a_connection_taken_over_goes_both_ways() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let asked = request(&mut stream).await.unwrap().to_ascii_lowercase();
        assert!(
            asked.contains("upgrade: tcp") && asked.contains("connection: upgrade"),
            "{asked}"
        );
        // The first frame comes along with the head.
        stream
            .write_all(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n\x01\0\0\0\0\0\0\x02hi")
            .await
            .unwrap();
        let mut typed = Vec::new();
        stream.read_to_end(&mut typed).await.unwrap();
        stream
            .write_all(&[2, 0, 0, 0, 0, 0, 0, typed.len() as u8])
            .await
            .unwrap();
        stream.write_all(&typed).await.unwrap();
    });
    let client = Client::connect(path.to_str().unwrap()).unwrap();
    let query = AttachQuery {
        stdin: true,
        stdout: true,
        ..AttachQuery::default()
    };
    let (mut reader, mut writer) = client
        .attach_container("web", &query)
        .await
        .unwrap()
        .split(false);
    let item = reader.next().await.unwrap().unwrap();
    assert_eq!((item.kind, &*item.bytes), (FrameKind::Stdout, &b"hi"[..]));
    writer.write(b"typed").await.unwrap();
    writer.close().await.unwrap();
    let item = reader.next().await.unwrap().unwrap();
    assert_eq!(
        (item.kind, &*item.bytes),
        (FrameKind::Stderr, &b"typed"[..])
    );
    assert_eq!(reader.next().await.unwrap(), None);
}

#[tokio::test]
async fn an_upload_goes_to_no_server_that_refuses_the_version() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = Vec::new();
        while let Some(text) = request(&mut stream).await {
            let line = text.lines().next().unwrap().to_owned();
            let answer = if line.contains("/v1.47/") {
                let words = "{\"message\":\"client version 1.47 is too new. Maximum supported API version is 1.40\"}";
                format!(
                    "HTTP/1.1 400 Bad\r\nContent-Length: {}\r\n\r\n{words}",
                    words.len()
                )
            } else {
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_owned()
            };
            asked.push(line);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    let client = Client::connect(path.to_str().unwrap()).unwrap();
    let upload = Upload::new(&b"archive"[..]).with_length(7);
    client.write_path("web", "/", upload, false).await.unwrap();
    assert_eq!(client.api_version(), "1.40");
    drop(client);
    let asked = server.await.unwrap();
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert_eq!(asked[1], "GET /v1.40/_ping HTTP/1.1");
    assert!(
        asked[2].starts_with("PUT /v1.40/containers/web/archive?"),
        "{asked:?}"
    );
}

/// An authority, and what it signed: for the server and for a client, as files.
struct Certificates {
    dir: TempDir,
    server: ServerConfig,
}

fn certificates(name: &str) -> Certificates {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    let authority_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(params, authority_key);
    let server_key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let server = server.signed_by(&server_key, &issuer).unwrap();
    let client_key = KeyPair::generate().unwrap();
    let client = CertificateParams::new(vec!["client".to_owned()]).unwrap();
    let client = client.signed_by(&client_key, &issuer).unwrap();
    write("ca.pem", authority.pem());
    write("cert.pem", client.pem());
    write("key.pem", client_key.serialize_pem());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![server.der().clone()],
            PrivateKeyDer::try_from(server_key.serialize_der()).unwrap(),
        )
        .unwrap();
    Certificates {
        dir,
        server: config,
    }
}

async fn answer(mut io: impl AsyncRead + AsyncWrite + Unpin) {
    while request(&mut io).await.is_some() {
        io.write_all(EMPTY.as_bytes()).await.unwrap();
    }
}

async fn serve_tls(config: ServerConfig) -> Host {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    answer(stream).await;
                }
            });
        }
    });
    Host::parse(&format!("tcp://127.0.0.1:{port}"), true).unwrap()
}

#[tokio::test]
async fn tls_with_certificates_on_both_sides() {
    let certificates = certificates("127.0.0.1");
    let host = serve_tls(certificates.server).await;
    let good = TlsOptions::from_directory(certificates.dir.path());
    let client = Client::new(host.clone(), Some(&good)).unwrap();
    assert_eq!(list(&client).await.unwrap(), 0);
    // Without a certificate of ours the server refuses.
    let anonymous = TlsOptions {
        cert: None,
        key: None,
        ..good.clone()
    };
    let client = Client::new(host.clone(), Some(&anonymous)).unwrap();
    assert!(list(&client).await.is_err());
    // With nobody to trust, the server's certificate is refused, unless any will do.
    let distrustful = TlsOptions {
        ca: None,
        ..good.clone()
    };
    let client = Client::new(host.clone(), Some(&distrustful)).unwrap();
    let error = list(&client).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    let careless = TlsOptions {
        skip_verify: true,
        ..distrustful
    };
    let client = Client::new(host.clone(), Some(&careless)).unwrap();
    assert_eq!(list(&client).await.unwrap(), 0);
    // Plain HTTP gets nowhere.
    let client = Client::new(host, None).unwrap();
    assert!(list(&client).await.is_err());
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let certificates = certificates("somebody.else");
    let host = serve_tls(certificates.server).await;
    let options = TlsOptions::from_directory(certificates.dir.path());
    let client = Client::new(host, Some(&options)).unwrap();
    let error = list(&client).await.unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn files_that_are_no_certificates_are_named() {
    let host = Host::parse("tcp://127.0.0.1:1", true).unwrap();
    let empty = tempfile::NamedTempFile::new().unwrap();
    let path = Some(empty.path().to_owned());
    for options in [
        TlsOptions {
            ca: path.clone(),
            ..TlsOptions::default()
        },
        TlsOptions {
            cert: path.clone(),
            ..TlsOptions::default()
        },
        TlsOptions {
            key: path.clone(),
            ..TlsOptions::default()
        },
        TlsOptions {
            ca: Some("/nosuch.pem".into()),
            ..TlsOptions::default()
        },
    ] {
        let error = Client::new(host.clone(), Some(&options)).unwrap_err();
        assert!(matches!(error, Error::Tls { .. }), "{options:?}: {error}");
        assert!(error.hint().is_some());
    }
}
