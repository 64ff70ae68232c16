//! A server that writes down what it is asked, and answers as little as will do.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::process::Command;

use crate::harness::{Done, binary, finish};

/// A request.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: Vec<String>,
    pub body: Value,
    pub registry_auth: Option<String>,
}

pub struct Recorder {
    dir: TempDir,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Recorder {
    /// One that speaks no newer version than `1.newest`.
    pub fn start(newest: Option<u32>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("s")).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let asked = Arc::clone(&written);
                let service =
                    service_fn(move |request| answer(request, Arc::clone(&asked), newest));
                tokio::spawn(async move {
                    // A client may leave at any time.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { dir, asked }
    }

    pub fn home(&self) -> &Path {
        self.dir.path()
    }

    pub fn host(&self) -> String {
        format!("unix://{}/s", self.dir.path().display())
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = binary(self.home());
        command.env("CORACLE_HOST", self.host()).args(words);
        command
    }

    pub async fn run(&self, words: &[&str]) -> Done {
        finish(self.command(words), b"").await
    }

    pub async fn feed(&self, words: &[&str], input: &[u8]) -> Done {
        finish(self.command(words), input).await
    }

    /// What was asked so far; asked once.
    pub fn requests(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

async fn answer(
    request: Request<Incoming>,
    asked: Arc<Mutex<Vec<Asked>>>,
    newest: Option<u32>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let path = parts.uri.path().to_owned();
    let query = parts.uri.query().unwrap_or_default();
    let mut query: Vec<String> = query.split('&').map(str::to_owned).collect();
    query.retain(|pair| !pair.is_empty() && !pair.ends_with('='));
    query.sort();
    let header = parts.headers.get("x-registry-auth");
    let method = parts.method.to_string();
    // What Docker's client asks before everything else.
    let (status, text) = if path.ends_with("/_ping") {
        (200, json!("OK"))
    } else if path.ends_with("/info") {
        (
            200,
            json!({"OSType": "linux", "IndexServerAddress": "https://index.docker.io/v1/"}),
        )
    } else {
        asked.lock().unwrap().push(Asked {
            method: method.clone(),
            path: path.clone(),
            query,
            body: serde_json::from_slice(&body).unwrap_or_default(),
            registry_auth: header.map(|value| value.to_str().unwrap().to_owned()),
        });
        respond(&method, &path, newest)
    };
    let response = Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header("api-version", format!("1.{}", newest.unwrap_or(47)))
        .header("ostype", "linux")
        .header("content-type", "application/json");
    Ok(response.body(Full::new(text.to_string().into())).unwrap())
}

fn respond(method: &str, path: &str, newest: Option<u32>) -> (u16, Value) {
    let rest = path.strip_prefix("/v1.").unwrap_or(path);
    let (version, route) = rest.split_once('/').unwrap_or((rest, ""));
    if let Some(newest) = newest
        && version.parse::<u32>().is_ok_and(|version| version > newest)
    {
        let message = format!(
            "client version 1.{version} is too new. Maximum supported API version is 1.{newest}"
        );
        return (400, json!({"message": message}));
    }
    match (method, route) {
        ("POST", "containers/create") => (201, json!({"Id": "abc", "Warnings": []})),
        ("POST", "networks/create") => (201, json!({"Id": "abc", "Warning": ""})),
        ("POST", "volumes/create") => (201, json!({"Name": "abc"})),
        ("POST", "commit") => (201, json!({"Id": "sha256:abc"})),
        ("POST", "auth") => (
            200,
            json!({"Status": "Login Succeeded", "IdentityToken": ""}),
        ),
        ("POST", "images/create") => (200, json!({"status": "done"})),
        ("GET", "containers/json" | "images/json" | "networks") => (200, json!([])),
        ("POST", route) if route.ends_with("/update") => (200, json!({"Warnings": []})),
        ("POST", route) if route.starts_with("containers/") => (204, json!(null)),
        ("POST", route) if route.ends_with("/prune") => (200, json!({"SpaceReclaimed": 0})),
        ("DELETE", route) if route.starts_with("images/") => (200, json!([])),
        ("DELETE", _) => (204, json!(null)),
        _ => (404, json!({"message": "not found"})),
    }
}
