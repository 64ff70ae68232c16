//! Blobs: streamed, resumed after a broken connection, bounded by their descriptor.

use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::Verifier;
use coracle_oci::VerifyError;
use coracle_oci::media;
use http::HeaderMap;
use http::Method;
use http::StatusCode;
use http::header;

use crate::answer::Answer;
use crate::error::Error;
use crate::error::Result;
use crate::location;
use crate::repository::Call;
use crate::repository::Endpoint;
use crate::repository::Repository;
use crate::repository::Target;
use crate::repository::Tries;
use crate::repository::value;

/// Failures of one download in all, however much each try brought.
const FAILURES: u32 = 50;
/// A try that brought so much counts as progress.
const PROGRESS_BYTES: u64 = 256 << 10;

/// The bytes of a blob as they arrive, from some offset on. Sizes are checked here, digests are
/// the receiver's business.
pub(crate) struct BlobReader<'a> {
    repository: &'a Repository,
    descriptor: &'a Descriptor,
    sources: Vec<&'a Endpoint>,
    /// The current one; past the end, the URLs of a foreign layer.
    source: usize,
    tries: Tries<'a>,
    failures: u32,
    offset: u64,
    /// Where the current try began.
    began: u64,
    answer: Option<Answer>,
    /// Bytes that a server sends again because it knows no ranges.
    skip: u64,
}

/// What a [`BlobReader`] has to say.
pub(crate) enum BlobNews {
    Bytes(Bytes),
    /// A try failed; call again after this time.
    Wait(Duration),
    End,
}

impl<'a> BlobReader<'a> {
    pub(crate) fn new(repository: &'a Repository, descriptor: &'a Descriptor, offset: u64) -> Self {
        Self {
            repository,
            descriptor,
            sources: repository.sources().collect(),
            source: 0,
            tries: Tries::new(&repository.client),
            failures: 0,
            offset,
            began: offset,
            answer: None,
            skip: 0,
        }
    }

    /// The next bytes.
    pub(crate) async fn next(&mut self) -> Result<BlobNews> {
        loop {
            let left = self.descriptor.size.saturating_sub(self.offset);
            if left == 0 {
                if let Some(answer) = self.answer.take() {
                    answer.discard().await;
                }
                return Ok(BlobNews::End);
            }
            let step = async {
                let answer = match &mut self.answer {
                    Some(answer) => answer,
                    none => {
                        let (answer, skip) = open(
                            self.repository,
                            &self.sources,
                            self.source,
                            self.descriptor,
                            self.offset,
                        )
                        .await?;
                        self.began = self.offset;
                        self.skip = skip;
                        none.insert(answer)
                    }
                };
                let chunk = answer.chunk().await?;
                chunk.ok_or_else(|| Error::Disconnected {
                    host: answer.host.clone(),
                    reason: format!("the blob ended {left} bytes too early"),
                })
            };
            let mut chunk = match step.await {
                Ok(chunk) => chunk,
                Err(error) => {
                    self.answer = None;
                    match self.failed(error)? {
                        Some(wait) => return Ok(BlobNews::Wait(wait)),
                        None => continue,
                    }
                }
            };
            if self.skip > 0 {
                let again = self.skip.min(chunk.len() as u64);
                self.skip -= again;
                chunk = chunk.split_off(again as usize);
                if chunk.is_empty() {
                    continue;
                }
            }
            if chunk.len() as u64 > left {
                return Err(self.wrong_size(self.offset + chunk.len() as u64));
            }
            self.offset += chunk.len() as u64;
            return Ok(BlobNews::Bytes(chunk));
        }
    }

    /// Decides how to go on: after a wait, at once with the next source, or not at all.
    fn failed(&mut self, error: Error) -> Result<Option<Duration>> {
        self.failures += 1;
        if self.offset >= self.began.saturating_add(PROGRESS_BYTES) {
            self.tries.progressed();
        }
        self.began = self.offset;
        if self.failures > FAILURES {
            return Err(error);
        }
        let is_mirror = self
            .sources
            .get(self.source)
            .is_some_and(|at| at.is_mirror());
        let error = match self.tries.again(error, is_mirror) {
            Ok(wait) => return Ok(Some(wait)),
            Err(error) => error,
        };
        let Some(at) = self.sources.get(self.source) else {
            return Err(error);
        };
        if is_mirror {
            self.repository.next_source(at, error)?;
        } else if !matches!(error, Error::BlobNotFound { .. })
            || !media::is_foreign(&self.descriptor.media_type)
            || self.descriptor.urls.is_empty()
        {
            return Err(error);
        } else if !self
            .repository
            .client
            .shared
            .registries
            .allow_foreign_layers
        {
            return Err(Error::ForeignLayer {
                digest: self.descriptor.digest.clone(),
            });
        }
        self.source += 1;
        self.tries = Tries::new(&self.repository.client);
        Ok(None)
    }

    fn wrong_size(&self, received: u64) -> Error {
        Error::SizeMismatch {
            digest: self.descriptor.digest.clone(),
            expected: self.descriptor.size,
            received,
        }
    }
}

/// Asks for the bytes from `offset` on. Also returns how many bytes the answer has before them.
async fn open(
    repository: &Repository,
    sources: &[&Endpoint],
    source: usize,
    descriptor: &Descriptor,
    offset: u64,
) -> Result<(Answer, u64)> {
    let mut headers = HeaderMap::new();
    if offset > 0 {
        headers.insert(header::RANGE, value(&format!("bytes={offset}-"))?);
    }
    let answer = match sources.get(source) {
        Some(at) => {
            let path = format!("blobs/{}", descriptor.digest);
            let call = Call {
                method: Method::GET,
                target: Target::Path(&path),
                headers,
                scopes: repository.scope("pull"),
                body: None,
            };
            repository.call(at, call).await?
        }
        None => open_foreign(repository, descriptor, headers).await?,
    };
    let mismatch = |received| Error::SizeMismatch {
        digest: descriptor.digest.clone(),
        expected: descriptor.size,
        received,
    };
    match answer.status {
        StatusCode::OK => match answer.content_length() {
            Some(length) if length != descriptor.size => Err(mismatch(length)),
            _ => Ok((answer, offset)),
        },
        StatusCode::PARTIAL_CONTENT => {
            let range = answer.header(header::CONTENT_RANGE).and_then(content_range);
            match range {
                Some((start, _)) if start != offset => Err(Error::protocol(
                    &answer.host,
                    "sent another range than was asked for",
                )),
                Some((_, Some(total))) if total != descriptor.size => Err(mismatch(total)),
                Some(_) => Ok((answer, 0)),
                None => Err(Error::protocol(
                    &answer.host,
                    "the Content-Range header is not valid",
                )),
            }
        }
        StatusCode::NOT_FOUND => Err(Error::BlobNotFound {
            repository: repository.familiar().to_owned(),
            digest: descriptor.digest.clone(),
        }),
        StatusCode::RANGE_NOT_SATISFIABLE => Err(mismatch(offset)),
        _ => Err(repository.refused("pull", answer).await),
    }
}

/// Asks the URLs of a foreign layer, without credentials.
async fn open_foreign(
    repository: &Repository,
    descriptor: &Descriptor,
    headers: HeaderMap,
) -> Result<Answer> {
    let mut last = Error::ForeignLayer {
        digest: descriptor.digest.clone(),
    };
    for url in descriptor.urls.iter().take(8) {
        let fetched = match location::absolute(url) {
            Ok(uri) => {
                let transport = &repository.client.shared.transport;
                transport.fetch(Method::GET, &uri, headers.clone()).await
            }
            Err(reason) => Err(Error::Manifest {
                reason: format!("a layer's URL is {reason}"),
            }),
        };
        match fetched {
            Ok(answer) if answer.status.is_success() => return Ok(answer),
            Ok(answer) => {
                let host = answer.host.clone();
                last = answer.refusal().await.into_error(&host);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// `bytes start-end/total` (RFC 9110 section 14.4).
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text
        .trim()
        .strip_prefix("bytes")?
        .trim_start()
        .split_once('/')?;
    let (start, end) = range.split_once('-')?;
    let (start, end): (u64, u64) = (start.trim().parse().ok()?, end.trim().parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (start <= end).then_some((start, total))
}

/// The error for content that isn't what its descriptor promised.
pub(crate) fn mismatch(error: VerifyError) -> Error {
    match error {
        VerifyError::Digest { digest, got } => Error::DigestMismatch {
            expected: digest,
            received: got,
        },
        VerifyError::TooLong { digest, size } => Error::SizeMismatch {
            digest,
            expected: size,
            received: size.saturating_add(1),
        },
        VerifyError::TooShort { digest, size, got } => Error::SizeMismatch {
            digest,
            expected: size,
            received: got,
        },
    }
}

impl Repository {
    /// Fetches and verifies a small blob, such as an image's configuration.
    pub async fn fetch_blob(&self, descriptor: &Descriptor, limit: usize) -> Result<Bytes> {
        if descriptor.size > limit as u64 {
            return Err(Error::TooLarge {
                what: "blob",
                limit,
            });
        }
        let mut verifier = Verifier::new(descriptor);
        let mut all = BytesMut::with_capacity(descriptor.size.min(64 << 10) as usize);
        let mut reader = BlobReader::new(self, descriptor, 0);
        loop {
            match reader.next().await? {
                BlobNews::Bytes(bytes) => {
                    verifier.update(&bytes).map_err(mismatch)?;
                    all.extend_from_slice(&bytes);
                }
                BlobNews::Wait(wait) => tokio::time::sleep(wait).await,
                BlobNews::End => break,
            }
        }
        verifier.finish().map_err(mismatch)?;
        Ok(all.freeze())
    }

    /// Whether the registry itself has the blob.
    pub async fn blob_exists(&self, digest: &Digest) -> Result<bool> {
        let path = format!("blobs/{digest}");
        let call = Call {
            method: Method::HEAD,
            target: Target::Path(&path),
            headers: HeaderMap::new(),
            scopes: self.scope("pull,push"),
            body: None,
        };
        let answer = self.call(self.registry()?, call).await?;
        match answer.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.refused("push", answer).await),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        assert_eq!(content_range("bytes 5-9/10"), Some((5, Some(10))));
        assert_eq!(content_range("bytes 5-9/*"), Some((5, None)));
        for bad in [
            "",
            "bytes",
            "bytes 5-9",
            "bytes 9-5/10",
            "bytes */10",
            "items 5-9/10",
            "bytes -1-2/3",
        ] {
            assert_eq!(content_range(bad), None, "{bad}");
        }
    }
}
