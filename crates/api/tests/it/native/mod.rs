//! The native API over a runtime in memory: what the checks by its description don't see, as they ask
//! without sense. (`tests/native_api/run.sh` asks all routes.)

mod containers;
mod description;
mod failures;
mod images;
mod kernels;
mod keys;
mod observe;
mod resources;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use coracle_api::{Keys, Server, ServerConfig};
use coracle_mock::MockRuntime;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::harness::{Answer, parse};

const NOTHING: Value = Value::Null;
const TAR: &str = "Content-Type: application/x-tar\r\n";

struct Daemon {
    address: std::net::SocketAddr,
    keys: Arc<Keys>,
    key: Option<String>,
}

impl Daemon {
    async fn start(config: ServerConfig) -> Self {
        let runtime = MockRuntime::new()
            .with_image("busybox")
            .with_remote_image("alpine");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let keys = Keys::in_memory();
        let server = Server::with_keys(Arc::new(runtime), config, keys.clone());
        tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
        Self {
            address,
            keys,
            key: None,
        }
    }

    async fn send(&self, method: &str, path: &str, head: &str, body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let key = match &self.key {
            Some(key) => format!("Authorization: Bearer {key}\r\n"),
            None => String::new(),
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{key}{head}\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(body).await.unwrap();
        let mut bytes = Vec::new();
        let read = stream.read_to_end(&mut bytes);
        timeout(Duration::from_secs(20), read)
            .await
            .unwrap()
            .unwrap();
        parse(&bytes)
    }

    async fn ask(&self, method: &str, path: &str, body: Value) -> Answer {
        let path = format!("/api/v1{path}");
        if body.is_null() {
            return self.send(method, &path, "", b"").await;
        }
        let head = "Content-Type: application/json\r\n";
        self.send(method, &path, head, body.to_string().as_bytes())
            .await
    }

    /// The same; it has to end with this status.
    async fn ok(&self, method: &str, path: &str, body: Value, status: u16) -> Answer {
        let answer = self.ask(method, path, body).await;
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
        answer
    }

    async fn container(&self, name: &str, command: &[&str]) {
        let body = json!({"image": "busybox", "name": name, "command": command});
        self.ok("POST", "/containers", body, 201).await;
        let start = format!("/containers/{name}/start");
        self.ok("POST", &start, NOTHING, 200).await;
    }
}

fn lines(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}
