//! A few lines of HTTP over a unix socket: for what the docker CLI can't be made to send.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// A reply.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Its status code.
    pub status: u16,
    /// Its head, as sent.
    pub head: String,
    /// Its body, out of its chunks.
    pub body: Vec<u8>,
}

impl Reply {
    /// The body as JSON, `null` if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Checks for Docker's error shape, and gives the message.
    ///
    /// # Panics
    /// If the status is another one, or the body isn't `{"message": …}`.
    #[track_caller]
    #[must_use]
    pub fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}{}", self.head, self.text());
        let json = self.json();
        let message = json.get("message").and_then(Value::as_str);
        message
            .unwrap_or_else(|| panic!("no message in {}", self.text()))
            .to_owned()
    }
}

/// Sends one request with a JSON body (or none), and reads the whole reply.
///
/// # Panics
/// If the socket can't be reached or the reply isn't HTTP.
#[track_caller]
#[must_use]
pub fn request(socket: &Path, method: &str, path: &str, body: Option<&Value>) -> Reply {
    let body = body.map(Value::to_string).unwrap_or_default();
    let kind = if body.is_empty() {
        ""
    } else {
        "Content-Type: application/json\r\n"
    };
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n{kind}Content-Length: {}\r\n\r\n",
        body.len()
    );
    raw(socket, format!("{head}{body}").as_bytes())
}

/// Sends these bytes, and reads the whole reply.
///
/// # Panics
/// If the socket can't be reached or the reply isn't HTTP.
#[track_caller]
#[must_use]
pub fn raw(socket: &Path, bytes: &[u8]) -> Reply {
    let mut stream = UnixStream::connect(socket).expect("connect to the daemon");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("set a timeout");
    // The daemon may refuse before it has read all.
    let _ = stream.write_all(bytes);
    let mut data = Vec::new();
    let ended = stream.read_to_end(&mut data);
    parse(&data).unwrap_or_else(|| {
        panic!(
            "no HTTP reply ({ended:?}): {:?}",
            String::from_utf8_lossy(&data)
        )
    })
}

fn parse(data: &[u8]) -> Option<Reply> {
    let split = data.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(data.get(..split)?).into_owned();
    let mut body = data.get(split + 4..)?.to_vec();
    let status = head.split_whitespace().nth(1)?.parse().ok()?;
    if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        body = unchunk(&body);
    }
    Some(Reply {
        status,
        head: head + "\n",
        body,
    })
}

/// What the chunks hold; ends quietly where they are cut short.
fn unchunk(mut data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(end) = data.windows(2).position(|window| window == b"\r\n") {
        let size = std::str::from_utf8(&data[..end]).unwrap_or_default();
        let Ok(size) = usize::from_str_radix(size.trim(), 16) else {
            break;
        };
        let Some(chunk) = data.get(end + 2..end + 2 + size) else {
            break;
        };
        if size == 0 {
            break;
        }
        out.extend_from_slice(chunk);
        data = data.get(end + 4 + size..).unwrap_or_default();
    }
    out
}
