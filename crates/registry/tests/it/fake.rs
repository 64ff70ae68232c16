//! A registry that does exactly what a test tells it to, down to the bytes on the wire.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use coracle_oci::Descriptor;
use coracle_oci::Digest;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::net::TcpStream;

use crate::image::Image;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The start of the range asked for.
    pub(crate) fn range(&self) -> Option<usize> {
        self.header("range")?
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    }

    pub(crate) fn is(&self, method: &str, part: &str) -> bool {
        self.method == method && self.path.contains(part)
    }
}

/// What to answer.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Plan,
}

/// How the body goes out.
pub(crate) enum Plan {
    Whole(Vec<u8>),
    /// The bytes, although `usize` of them were announced; then the connection closes.
    Cut(Vec<u8>, usize),
    /// The bytes over and over, in chunks without an end.
    Endless(Vec<u8>),
    /// The head, and then nothing.
    Stall,
    /// These bytes instead of a whole answer; then the connection closes.
    Raw(Vec<u8>),
    /// After a while, the bytes.
    Slow(Duration, Vec<u8>),
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Plan::Whole(body.into()),
        }
    }

    pub(crate) fn plan(status: u16, body: Plan) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body,
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn error(status: u16, code: &str) -> Self {
        let message = code.to_lowercase().replace('_', " ");
        Self::new(
            status,
            format!(r#"{{"errors":[{{"code":"{code}","message":"{message}"}}]}}"#),
        )
    }
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

/// A server on loopback, gone when it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(crate) async fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let (log, handler): (_, Arc<Handler>) = (seen.clone(), Arc::new(handler));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, log.clone(), handler.clone()));
            }
        });
        Self {
            address,
            seen,
            task,
        }
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.seen()
            .iter()
            .filter(|seen| seen.is(method, part))
            .count()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Vec<Seen>>>, handler: Arc<Handler>) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::new();
    while let Some(seen) = read_request(&mut stream, &mut buffer).await {
        log.lock().unwrap().push(seen.clone());
        let reply = handler(&seen);
        match write_reply(&mut stream, &seen, reply).await {
            Ok(true) => {}
            _ => return,
        }
    }
}

async fn read_request(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
        // Somebody tries TLS: say so as Go's server does.
        if buffer[0] == 0x16 {
            let _ = stream
                .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nplain HTTP here\n")
                .await;
            return None;
        }
    };
    let head = String::from_utf8(buffer[..end].to_vec()).unwrap();
    buffer.drain(..end + 4);
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        .collect();
    let length: usize = headers
        .get("content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    while buffer.len() < length {
        if stream.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    let body = buffer.drain(..length).collect();
    Some(Seen {
        method,
        path,
        headers,
        body,
    })
}

/// Returns whether the connection can be used again.
async fn write_reply(stream: &mut TcpStream, seen: &Seen, reply: Reply) -> std::io::Result<bool> {
    let mut head = format!("HTTP/1.1 {} X\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let own_length = reply
        .headers
        .iter()
        .any(|(n, _)| n.eq_ignore_ascii_case("content-length"));
    let mut length = |bytes: usize| {
        if !own_length {
            head.push_str(&format!("Content-Length: {bytes}\r\n"));
        }
        head.push_str("\r\n");
        head.clone()
    };
    match reply.body {
        Plan::Whole(bytes) => {
            stream.write_all(length(bytes.len()).as_bytes()).await?;
            if seen.method != "HEAD" {
                stream.write_all(&bytes).await?;
            }
            Ok(true)
        }
        Plan::Slow(wait, bytes) => {
            stream.write_all(length(bytes.len()).as_bytes()).await?;
            tokio::time::sleep(wait).await;
            stream.write_all(&bytes).await?;
            Ok(true)
        }
        Plan::Cut(bytes, announced) => {
            stream.write_all(length(announced).as_bytes()).await?;
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            Ok(false)
        }
        Plan::Endless(bytes) => {
            head.push_str("Transfer-Encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes()).await?;
            loop {
                stream
                    .write_all(format!("{:x}\r\n", bytes.len()).as_bytes())
                    .await?;
                stream.write_all(&bytes).await?;
                stream.write_all(b"\r\n").await?;
            }
        }
        Plan::Stall => {
            stream.write_all(length(1000).as_bytes()).await?;
            tokio::time::sleep(Duration::from_secs(30)).await;
            Ok(false)
        }
        Plan::Raw(bytes) => {
            stream.write_all(&bytes).await?;
            Ok(false)
        }
    }
}

/// What a well-behaved registry with some content answers.
#[derive(Clone, Default)]
pub(crate) struct Content {
    manifests: HashMap<String, (Descriptor, Vec<u8>)>,
    blobs: HashMap<String, Vec<u8>>,
}

impl Content {
    pub(crate) fn of(images: &[(&str, &Image)]) -> Self {
        let mut this = Self::default();
        for (tag, image) in images {
            this.add_manifest(tag, &image.manifest);
            for (descriptor, bytes) in &image.blobs {
                this.blobs
                    .insert(descriptor.digest.to_string(), bytes.clone());
            }
        }
        this
    }

    /// Adds a manifest under its digest and, unless it is empty, a tag.
    pub(crate) fn add_manifest(&mut self, tag: &str, manifest: &(Descriptor, Vec<u8>)) {
        self.manifests
            .insert(manifest.0.digest.to_string(), manifest.clone());
        if !tag.is_empty() {
            self.manifests.insert(tag.to_owned(), manifest.clone());
        }
    }

    pub(crate) fn remove_blob(&mut self, digest: &Digest) {
        self.blobs.remove(digest.as_str());
    }

    /// Answers a request; ranges of blobs are honoured.
    pub(crate) fn answer(&self, seen: &Seen) -> Reply {
        if seen.path == "/v2/" {
            return Reply::new(200, "{}");
        }
        let (folder, name) = seen.path.rsplit_once('/').unwrap();
        if folder.ends_with("/manifests") {
            let Some((descriptor, bytes)) = self.manifests.get(name) else {
                return Reply::error(404, "MANIFEST_UNKNOWN");
            };
            return Reply::new(200, bytes.clone())
                .header("Content-Type", &descriptor.media_type)
                .header("Docker-Content-Digest", descriptor.digest.as_str());
        }
        let Some(bytes) = self.blobs.get(name) else {
            return Reply::error(404, "BLOB_UNKNOWN");
        };
        match seen.range() {
            None => Reply::new(200, bytes.clone()),
            Some(start) if start >= bytes.len() => Reply::error(416, "RANGE_INVALID"),
            Some(start) => {
                let range = format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len());
                Reply::new(206, &bytes[start..]).header("Content-Range", range)
            }
        }
    }
}
