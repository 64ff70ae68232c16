//! Manifests: by tag and by digest, always verified.

use bytes::Bytes;
use coracle_oci::Algorithm;
use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::Document;
use coracle_oci::Reference;
use coracle_oci::limits;
use coracle_oci::media;
use http::HeaderMap;
use http::Method;
use http::StatusCode;
use http::header;

use crate::answer::Answer;
use crate::error::Error;
use crate::error::Result;
use crate::repository::Call;
use crate::repository::Endpoint;
use crate::repository::Repository;
use crate::repository::Target;
use crate::repository::Tries;
use crate::repository::value;
use crate::transport::full;

const CONTENT_DIGEST: &str = "docker-content-digest";

/// A manifest or index, with the exact bytes that its digest is of.
#[derive(Debug, Clone)]
pub struct FetchedManifest {
    /// Its type, digest and size.
    pub descriptor: Descriptor,
    /// The document as it came.
    pub bytes: Bytes,
    /// The document parsed.
    pub document: Document,
}

/// What names a manifest in a repository.
#[derive(Debug, Clone, Copy)]
pub enum ManifestName<'a> {
    /// A tag.
    Tag(&'a str),
    /// A digest.
    Digest(&'a Digest),
}

impl<'a> ManifestName<'a> {
    /// The digest of the reference, or else its tag, or else `latest`.
    pub fn of(reference: &'a Reference) -> Self {
        match (reference.digest(), reference.tag()) {
            (Some(digest), _) => Self::Digest(digest),
            (None, tag) => Self::Tag(tag.unwrap_or(coracle_oci::DEFAULT_TAG)),
        }
    }

    pub(crate) fn as_str(&self) -> &'a str {
        match self {
            Self::Tag(tag) => tag,
            Self::Digest(digest) => digest.as_str(),
        }
    }

    /// The short reference for messages.
    fn shown(&self, repository: &Repository) -> String {
        match self {
            Self::Tag(tag) => format!("{}:{tag}", repository.familiar()),
            Self::Digest(digest) => format!("{}@{digest}", repository.familiar()),
        }
    }
}

impl Repository {
    /// What `name` stands for now. Asks with HEAD, which registries don't count against rate
    /// limits, and fetches only when the answer says too little.
    pub async fn resolve(&self, name: ManifestName<'_>) -> Result<Descriptor> {
        let mut last = None;
        for at in self.sources() {
            match self.head_at(at, name).await {
                Ok(Some(descriptor)) => return Ok(descriptor),
                Ok(None) => return Ok(self.fetch_manifest(name, None).await?.descriptor),
                Err(error) => last = Some(self.next_source(at, error)?),
            }
        }
        Err(last.unwrap_or_else(|| Error::config("no server to ask")))
    }

    /// Fetches a manifest or index of at most 4 MiB and verifies it: against `expected` or the
    /// digest in `name`, else against the digest that the registry announces.
    pub async fn fetch_manifest(
        &self,
        name: ManifestName<'_>,
        expected: Option<&Descriptor>,
    ) -> Result<FetchedManifest> {
        let mut last = None;
        for at in self.sources() {
            match self.manifest_at(at, name, expected).await {
                Ok(manifest) => return Ok(manifest),
                Err(error) => last = Some(self.next_source(at, error)?),
            }
        }
        Err(last.unwrap_or_else(|| Error::config("no server to ask")))
    }

    /// Whether the next source may be asked after `error`.
    pub(crate) fn next_source(&self, at: &Endpoint, error: Error) -> Result<Error> {
        if !at.is_mirror() {
            return Err(error);
        }
        tracing::warn!(mirror = at.host(), %error, "a mirror failed, going on without it");
        if error.is_transient() || matches!(error, Error::Tls { .. }) {
            at.give_up();
        }
        Ok(error)
    }

    async fn head_at(&self, at: &Endpoint, name: ManifestName<'_>) -> Result<Option<Descriptor>> {
        let answer = match self.manifest_call(at, Method::HEAD, name).await {
            Ok(answer) => answer,
            // Some registries have no HEAD.
            Err(Error::Registry { status, .. }) if status.is_client_error() => return Ok(None),
            Err(error) => return Err(error),
        };
        let media_type = content_type(&answer);
        let digest = match name {
            ManifestName::Digest(digest) => Some(digest.clone()),
            ManifestName::Tag(_) => announced(&answer)?,
        };
        let size = answer.content_length().filter(|size| *size > 0);
        let (Some(media_type), Some(digest), Some(size)) = (media_type, digest, size) else {
            return Ok(None);
        };
        if size > limits::MANIFEST_BYTES as u64 {
            return Err(too_large());
        }
        Ok(Some(Descriptor::new(media_type, digest, size)))
    }

    async fn manifest_at(
        &self,
        at: &Endpoint,
        name: ManifestName<'_>,
        expected: Option<&Descriptor>,
    ) -> Result<FetchedManifest> {
        let mut tries = Tries::new(&self.client);
        let (media_type, announced, bytes) = loop {
            let got = async {
                let answer = self.manifest_call(at, Method::GET, name).await?;
                let (media_type, digest) = (content_type(&answer), announced(&answer)?);
                let bytes = answer.bytes("manifest", limits::MANIFEST_BYTES).await?;
                Ok((media_type, digest, bytes))
            };
            match got.await {
                Ok(got) => break got,
                Err(error) => tokio::time::sleep(tries.again(error, true)?).await,
            }
        };
        let wanted = match (expected, name) {
            (Some(descriptor), _) => Some(&descriptor.digest),
            (None, ManifestName::Digest(digest)) => Some(digest),
            (None, ManifestName::Tag(_)) => None,
        };
        let digest = verified(&bytes, wanted.or(announced.as_ref()))?;
        if let Some(expected) = expected
            && expected.size != bytes.len() as u64
        {
            return Err(Error::SizeMismatch {
                digest,
                expected: expected.size,
                received: bytes.len() as u64,
            });
        }
        let media_type = match expected {
            Some(expected) => Some(expected.media_type.clone()),
            None => media_type,
        };
        let document =
            Document::parse(&bytes, media_type.as_deref()).map_err(|error| Error::Manifest {
                reason: error.to_string(),
            })?;
        let media_type = media_type.unwrap_or_else(|| media_type_of(&document).to_owned());
        let descriptor = Descriptor::new(media_type, digest, bytes.len() as u64);
        Ok(FetchedManifest {
            descriptor,
            bytes,
            document,
        })
    }

    async fn manifest_call(
        &self,
        at: &Endpoint,
        method: Method,
        name: ManifestName<'_>,
    ) -> Result<Answer> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, value(&media::ACCEPTED.join(", "))?);
        let path = format!("manifests/{}", name.as_str());
        let call = Call {
            method,
            target: Target::Path(&path),
            headers,
            scopes: self.scope("pull"),
            body: None,
        };
        let answer = self.call(at, call).await?;
        match answer.status {
            StatusCode::OK => Ok(answer),
            StatusCode::NOT_FOUND => {
                let refusal = answer.refusal().await;
                if refusal.has_code("NAME_UNKNOWN") {
                    return Err(Error::RepositoryNotFound {
                        repository: self.familiar().to_owned(),
                        reason: refusal.reason,
                    });
                }
                let reason = match refusal.code {
                    Some(_) => refusal.reason,
                    None => "manifest unknown: manifest unknown".into(),
                };
                Err(Error::ManifestNotFound {
                    reference: name.shown(self),
                    reason,
                })
            }
            _ => Err(self.refused("pull", answer).await),
        }
    }

    /// Deletes a manifest by its digest. Registries may refuse that (status 405).
    pub async fn delete_manifest(&self, digest: &Digest) -> Result<()> {
        let path = format!("manifests/{digest}");
        let call = Call {
            method: Method::DELETE,
            target: Target::Path(&path),
            headers: HeaderMap::new(),
            scopes: self.scope("pull,delete"),
            body: None,
        };
        let answer = self.call(self.registry()?, call).await?;
        match answer.status {
            status if status.is_success() => Ok(()),
            StatusCode::NOT_FOUND => Err(Error::ManifestNotFound {
                reference: ManifestName::Digest(digest).shown(self),
                reason: answer.refusal().await.reason,
            }),
            _ => Err(self.refused("delete", answer).await),
        }
    }
}

impl Repository {
    /// Sends a manifest or index under a tag, or else its digest. All that it names must be there.
    pub async fn push_manifest(
        &self,
        descriptor: &Descriptor,
        bytes: Bytes,
        tag: Option<&str>,
    ) -> Result<()> {
        let path = format!("manifests/{}", tag.unwrap_or(descriptor.digest.as_str()));
        let mut tries = Tries::new(&self.client);
        loop {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value(&descriptor.media_type)?);
            let body = || full(bytes.clone());
            let call = Call {
                method: Method::PUT,
                target: Target::Path(&path),
                headers,
                scopes: self.scope("pull,push"),
                body: Some(&body),
            };
            let sent = async {
                let answer = self.call(self.registry()?, call).await?;
                match answer.status {
                    status if status.is_success() => {
                        answer.discard().await;
                        Ok(())
                    }
                    _ => Err(self.refused("push", answer).await),
                }
            };
            match sent.await {
                Ok(()) => return Ok(()),
                Err(error) => tokio::time::sleep(tries.again(error, true)?).await,
            }
        }
    }
}

/// The media type of a manifest's answer, unless it is a general one.
fn content_type(answer: &Answer) -> Option<String> {
    let essence = media::essence(answer.header(header::CONTENT_TYPE)?);
    let known =
        media::is_index(essence) || media::is_manifest(essence) || media::is_schema1(essence);
    known.then(|| essence.to_owned())
}

fn media_type_of(document: &Document) -> &str {
    match document {
        Document::Manifest(manifest) => manifest
            .media_type
            .as_deref()
            .unwrap_or(media::OCI_MANIFEST),
        Document::Index(index) => index.media_type.as_deref().unwrap_or(media::OCI_INDEX),
    }
}

fn announced(answer: &Answer) -> Result<Option<Digest>> {
    let Some(raw) = answer.headers.get(CONTENT_DIGEST) else {
        return Ok(None);
    };
    let digest = raw.to_str().ok().and_then(|text| Digest::parse(text).ok());
    match digest {
        Some(digest) => Ok(Some(digest)),
        None => Err(Error::protocol(
            &answer.host,
            "the Docker-Content-Digest header is not valid",
        )),
    }
}

/// The digest of `bytes`, refused when another one was wanted.
fn verified(bytes: &[u8], wanted: Option<&Digest>) -> Result<Digest> {
    let algorithm = wanted.map_or(Algorithm::Sha256, Digest::algorithm);
    let received = Digest::of(algorithm, bytes);
    match wanted {
        Some(expected) if *expected != received => Err(Error::DigestMismatch {
            expected: expected.clone(),
            received,
        }),
        _ => Ok(received),
    }
}

fn too_large() -> Error {
    Error::TooLarge {
        what: "manifest",
        limit: limits::MANIFEST_BYTES,
    }
}
