//! Sending blobs and manifests (distribution-spec, "Push").
//!
//! A blob goes in one request. When that fails midway the registry is asked how much it kept and
//! the rest is sent as chunks; when a proxy finds the request too large (413), chunks it is too.

use std::sync::atomic::Ordering;
use std::time::Duration;

use coracle_oci::Descriptor;
use http::HeaderMap;
use http::Method;
use http::StatusCode;
use http::Uri;
use http::header;

use crate::answer::Answer;
use crate::error::Error;
use crate::error::Result;
use crate::file_body::FileBody;
use crate::file_body::Open;
use crate::file_body::Sent;
use crate::location;
use crate::repository::Call;
use crate::repository::Repository;
use crate::repository::Target;
use crate::repository::Tries;
use crate::repository::value;

/// Bytes of a chunk, unless the registry wants larger ones.
const CHUNK_BYTES: u64 = 32 << 20;
/// Failures of one upload in all.
const FAILURES: u32 = 20;

/// What happened to a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Uploaded {
    Sent,
    Mounted { from: String },
}

/// One blob on its way to the registry.
pub(crate) struct Upload<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) descriptor: &'a Descriptor,
    pub(crate) open: Open,
    /// Repositories of the same registry that have it.
    pub(crate) mount_from: &'a [String],
    pub(crate) sent: Sent,
}

/// An upload that the registry has opened.
struct Session {
    uri: Uri,
    /// Bytes that the registry has.
    offset: u64,
    chunk: u64,
}

impl Upload<'_> {
    /// Mounts or sends the blob. `wait` is told of each pause before a new try.
    pub(crate) async fn run(&self, wait: impl Fn(Duration) + Send + Sync) -> Result<Uploaded> {
        let mut tries = Tries::new(&self.repository.client);
        let mut failures = 0;
        let mut chunked = false;
        let mut mounts = self.mount_from.iter();
        let mut session: Option<Session> = None;
        loop {
            let step = async {
                let open = match &mut session {
                    Some(open) => open,
                    none => {
                        let from = mounts.next().map(String::as_str);
                        match self.begin(from).await? {
                            Begun::Mounted => return Ok(from.map(str::to_owned)),
                            Begun::Session(new) => none.insert(new),
                        }
                    }
                };
                self.sent.store(open.offset, Ordering::Relaxed);
                if chunked || open.offset > 0 {
                    self.send_chunks(open).await?;
                    self.finish(open).await?;
                } else {
                    self.send_whole(open).await?;
                }
                Ok(None)
            };
            let error = match step.await {
                Ok(Some(from)) => return Ok(Uploaded::Mounted { from }),
                Ok(None) => {
                    self.sent.store(self.descriptor.size, Ordering::Relaxed);
                    return Ok(Uploaded::Sent);
                }
                Err(error) => error,
            };
            failures += 1;
            if failures > FAILURES {
                return Err(error);
            }
            if let Error::Registry {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                ..
            } = error
                && !chunked
            {
                chunked = true;
                session = None;
                continue;
            }
            let pause = tries.again(error, false)?;
            wait(pause);
            tokio::time::sleep(pause).await;
            session = match session {
                Some(open) => self.resume(open, &mut tries).await,
                None => None,
            };
        }
    }

    fn call<'b>(&self, method: Method, target: Target<'b>, headers: HeaderMap) -> Call<'b> {
        let mut scopes = self.repository.scope("pull,push");
        let mounts = self
            .mount_from
            .iter()
            .map(|from| format!("repository:{from}:pull"));
        scopes.extend(mounts);
        Call {
            method,
            target,
            headers,
            scopes,
            body: None,
        }
    }

    async fn send(&self, call: Call<'_>) -> Result<Answer> {
        self.repository
            .call(self.repository.registry()?, call)
            .await
    }

    async fn begin(&self, from: Option<&str>) -> Result<Begun> {
        let mut path = "blobs/uploads/".to_owned();
        if let Some(from) = from {
            path.push_str("?mount=");
            location::encode(&mut path, self.descriptor.digest.as_str());
            path.push_str("&from=");
            location::encode(&mut path, from);
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, value("0")?);
        let answer = self
            .send(self.call(Method::POST, Target::Path(&path), headers))
            .await?;
        match answer.status {
            StatusCode::CREATED if from.is_some() => Ok(Begun::Mounted),
            StatusCode::ACCEPTED => {
                let base = self.asked(&path).await?;
                let uri = self.next_location(&answer, &base).await?;
                Ok(Begun::Session(Session {
                    uri,
                    offset: 0,
                    chunk: chunk_size(&answer),
                }))
            }
            _ => Err(self.repository.refused("push", answer).await),
        }
    }

    async fn asked(&self, path: &str) -> Result<Uri> {
        let client = &self.repository.client;
        let base = client.base(&self.repository.registry()?.server).await?;
        crate::client::endpoint(&base, &format!("{}/{path}", self.repository.path()))
    }

    /// Where the registry wants the next request.
    async fn next_location(&self, answer: &Answer, asked: &Uri) -> Result<Uri> {
        let mut uri = answer.location(asked)?;
        // Registries behind a proxy that ends TLS don't know that they are https.
        if location::host(&uri).eq_ignore_ascii_case(&location::host(asked))
            && uri.scheme_str() == Some("http")
            && asked.scheme_str() == Some("https")
        {
            uri = uri
                .to_string()
                .replacen("http:", "https:", 1)
                .parse()
                .map_err(|_| Error::protocol(&answer.host, "the Location header is not valid"))?;
        }
        self.repository
            .client
            .shared
            .transport
            .refuse_downgrade(asked, &uri)
            .await?;
        Ok(uri)
    }

    fn with_digest(&self, uri: &Uri) -> Result<Uri> {
        location::with_query(uri, &[("digest", self.descriptor.digest.as_str())])
            .map_err(|reason| Error::protocol(&location::host(uri), reason))
    }

    async fn send_whole(&self, session: &mut Session) -> Result<()> {
        let uri = self.with_digest(&session.uri)?;
        let answer = self
            .put_range(Method::PUT, uri, 0, self.descriptor.size, None)
            .await?;
        self.created(answer).await
    }

    async fn send_chunks(&self, session: &mut Session) -> Result<()> {
        while session.offset < self.descriptor.size {
            let (start, asked) = (session.offset, session.uri.clone());
            let end = start
                .saturating_add(session.chunk)
                .min(self.descriptor.size);
            let range = format!("{start}-{}", end - 1);
            let answer = self
                .put_range(Method::PATCH, asked.clone(), start, end, Some(&range))
                .await?;
            if answer.status != StatusCode::ACCEPTED && answer.status != StatusCode::NO_CONTENT {
                return Err(self.repository.refused("push", answer).await);
            }
            session.uri = self.next_location(&answer, &asked).await?;
            session.offset = end;
            answer.discard().await;
        }
        Ok(())
    }

    async fn finish(&self, session: &mut Session) -> Result<()> {
        let uri = self.with_digest(&session.uri)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_LENGTH, value("0")?);
        let answer = self
            .send(self.call(Method::PUT, Target::Uri(uri), headers))
            .await?;
        self.created(answer).await
    }

    async fn created(&self, answer: Answer) -> Result<()> {
        match answer.status {
            StatusCode::CREATED | StatusCode::NO_CONTENT => {
                answer.discard().await;
                Ok(())
            }
            _ => Err(self.repository.refused("push", answer).await),
        }
    }

    async fn put_range(
        &self,
        method: Method,
        uri: Uri,
        start: u64,
        end: u64,
        range: Option<&str>,
    ) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, value("application/octet-stream")?);
        headers.insert(header::CONTENT_LENGTH, value(&(end - start).to_string())?);
        if let Some(range) = range {
            headers.insert(header::CONTENT_RANGE, value(range)?);
        }
        let (open, sent) = (self.open.clone(), self.sent.clone());
        let body = move || FileBody::start(open.clone(), start, end, sent.clone());
        let mut call = self.call(method, Target::Uri(uri), headers);
        call.body = Some(&body);
        self.repository
            .call(self.repository.registry()?, call)
            .await
    }

    /// Asks how much of a broken upload is there. `None`: begin anew.
    async fn resume(&self, session: Session, tries: &mut Tries<'_>) -> Option<Session> {
        let call = self.call(
            Method::GET,
            Target::Uri(session.uri.clone()),
            HeaderMap::new(),
        );
        let answer = self.send(call).await.ok()?;
        if answer.status != StatusCode::NO_CONTENT {
            return None;
        }
        let offset = match answer.header(header::RANGE) {
            // `0-0` is what registries say of nothing, too.
            None | Some("0-0" | "bytes=0-0") => 0,
            Some(range) => received(range).filter(|offset| *offset <= self.descriptor.size)?,
        };
        let uri = match answer.header(header::LOCATION) {
            Some(_) => self.next_location(&answer, &session.uri).await.ok()?,
            None => session.uri,
        };
        if offset == 0 {
            return None;
        }
        if offset > session.offset {
            tries.progressed();
        }
        Some(Session {
            uri,
            offset,
            chunk: session.chunk,
        })
    }
}

enum Begun {
    Mounted,
    Session(Session),
}

/// `OCI-Chunk-Min-Length`, or the usual size if that is larger.
fn chunk_size(answer: &Answer) -> u64 {
    let asked = answer.headers.get("oci-chunk-min-length");
    let asked = asked.and_then(|raw| raw.to_str().ok()?.trim().parse::<u64>().ok());
    asked.unwrap_or(0).max(CHUNK_BYTES)
}

/// The bytes received by `0-<last>`.
fn received(range: &str) -> Option<u64> {
    let (start, last) = range
        .strip_prefix("bytes=")
        .unwrap_or(range)
        .split_once('-')?;
    if start.trim() != "0" {
        return None;
    }
    last.trim().parse::<u64>().ok()?.checked_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_uploads() {
        assert_eq!(received("0-99"), Some(100));
        assert_eq!(received("bytes=0-99"), Some(100));
        for bad in ["", "0", "5-9", "0-x", "0-18446744073709551615"] {
            assert_eq!(received(bad), None, "{bad}");
        }
    }
}
