//! A server on a socket of its own, and a client that shows every byte.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;

use coracle_api::{Server, ServerConfig};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::stub::Stub;

pub(crate) struct Harness {
    pub(crate) stub: Arc<Stub>,
    directory: TempDir,
    shutdown: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {:?}", String::from_utf8_lossy(&self.body)))
    }

    pub(crate) fn message(&self) -> String {
        self.json()["message"].as_str().unwrap().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

impl Harness {
    pub(crate) fn new() -> Self {
        Self::with_config(ServerConfig::default())
    }

    pub(crate) fn with_config(config: ServerConfig) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("s")).unwrap();
        let stub = Arc::new(Stub::default());
        let server = Server::new(stub.clone(), config);
        let (shutdown, stop) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            server
                .serve(listener, async {
                    let _ = stop.await;
                })
                .await;
        });
        Self {
            stub,
            directory,
            shutdown: Some(shutdown),
            server,
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    pub(crate) async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.socket()).await.unwrap()
    }

    /// Asks the server to end, and gives its end.
    pub(crate) fn stop(mut self) -> impl Future<Output = ()> {
        self.shutdown.take().unwrap().send(()).unwrap();
        async move {
            self.server.await.unwrap();
            drop(self.directory);
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "").await
    }

    pub(crate) async fn post(&self, path: &str, json: &str) -> Answer {
        self.request("POST", path, json).await
    }

    /// One request on a connection of its own; a body is JSON.
    pub(crate) async fn request(&self, method: &str, path: &str, json: &str) -> Answer {
        let content = if json.is_empty() {
            String::new()
        } else {
            "Content-Type: application/json\r\n".to_owned()
        };
        self.raw(&format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{content}\
             Content-Length: {}\r\n\r\n{json}",
            json.len()
        ))
        .await
    }

    /// Sends bytes, half-closes, and reads the answer to its end.
    pub(crate) async fn raw(&self, request: &str) -> Answer {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        parse(&bytes)
    }
}

/// Splits an answer, and takes chunks together.
pub(crate) fn parse(bytes: &[u8]) -> Answer {
    let end = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(bytes)));
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut body = bytes[end + 4..].to_vec();
    if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        body = unchunk(&body);
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, head, body }
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|window| window == b"\r\n") {
        let length =
            usize::from_str_radix(std::str::from_utf8(&bytes[..end]).unwrap(), 16).unwrap();
        bytes = &bytes[end + 2..];
        body.extend_from_slice(&bytes[..length]);
        bytes = &bytes[length + 2..];
        if length == 0 {
            break;
        }
    }
    body
}
