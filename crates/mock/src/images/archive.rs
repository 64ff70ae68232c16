//! Images as archives: saved, loaded, imported.
//!
//! What is saved is an OCI layout and a docker-archive at once; both kinds are loaded.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use coracle_archive::Decompressor;
use coracle_catalog::Target;
use coracle_oci::{Descriptor, Digest, Document, History, Index, Reference, media};
use coracle_runtime::image::{ImportRequest, Progress};
use coracle_runtime::io::{BoxStream, ByteStream};
use coracle_runtime::{Result, RuntimeError};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};

use super::{Images, Layer, Stored, invalid, parse_platform, parse_reference};
use crate::engine::Engine;
use crate::fs::{Kind, Node, tar};

/// The annotation that Docker and containerd keep full names in.
const IMAGE_NAME: &str = "io.containerd.image.name";
/// Indexes in indexes that are followed.
const MAX_DEPTH: usize = 4;

/// An entry of a docker-archive's `manifest.json`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// All bytes of a stream, at most what fits into memory.
pub(crate) async fn collect(mut from: ByteStream) -> Result<Bytes> {
    let most = tar::limits().max_bytes;
    let mut all = Vec::new();
    while let Some(piece) = from.next().await {
        all.extend_from_slice(&piece?);
        if all.len() as u64 > most {
            return Err(RuntimeError::InvalidArgument(format!(
                "the archive has more than {most} bytes"
            )));
        }
    }
    Ok(all.into())
}

/// What a stream of one piece is.
pub(crate) fn once(bytes: Bytes) -> ByteStream {
    // In pieces, as from a real source.
    let pieces: Vec<Result<Bytes>> = bytes
        .chunks(64 << 10)
        .map(|piece| Ok(Bytes::copy_from_slice(piece)))
        .collect();
    Box::pin(stream::iter(pieces))
}

fn blob(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

impl Images {
    /// An archive of the images that names stand for. An id is saved without a name, a repository
    /// with all its tags.
    pub(crate) fn save(&self, names: &[String]) -> Result<(Bytes, Vec<(Digest, String)>)> {
        if names.is_empty() {
            return Err(RuntimeError::InvalidArgument(
                "nothing to save: give at least one image".into(),
            ));
        }
        let mut chosen: BTreeMap<Digest, Vec<Reference>> = BTreeMap::new();
        let mut told = Vec::new();
        for text in names {
            let tags: Vec<(Digest, Reference)> = match parse_reference(text) {
                // Without a tag of its own, the name stands for all of them.
                Ok(wanted) if !text.contains([':', '@']) => self
                    .images
                    .values()
                    .flat_map(|image| {
                        image
                            .names
                            .iter()
                            .map(|name| (image.id.clone(), name.clone()))
                    })
                    .filter(|(_, name)| name.name() == wanted.name())
                    .collect(),
                _ => Vec::new(),
            };
            if tags.is_empty() {
                match self.find(text)? {
                    Target::Id(id) => drop(chosen.entry(id.clone()).or_default()),
                    Target::Name(id, name) => chosen.entry(id).or_default().push(name),
                }
            }
            for (id, name) in tags {
                chosen.entry(id).or_default().push(name);
            }
            told.push((self.get(text).map(|image| image.id.clone()), text.clone()));
        }
        let mut files: BTreeMap<String, Bytes> = BTreeMap::new();
        let (mut items, mut index) = (Vec::new(), Vec::new());
        for (id, names) in &chosen {
            let Some(image) = self.images.get(id) else {
                continue;
            };
            self.plan(image, names, &mut files, &mut items, &mut index);
        }
        let json = |value: std::result::Result<Vec<u8>, serde_json::Error>| -> Result<Bytes> {
            value
                .map(Bytes::from)
                .map_err(|error| RuntimeError::Internal(error.to_string()))
        };
        files.insert(
            "index.json".into(),
            json(serde_json::to_vec(&Index::oci(index)))?,
        );
        files.insert("manifest.json".into(), json(serde_json::to_vec(&items))?);
        files.insert(
            "oci-layout".into(),
            Bytes::from_static(br#"{"imageLayoutVersion":"1.0.0"}"#),
        );
        let nodes: Vec<(String, Arc<Node>)> = files
            .into_iter()
            .map(|(name, content)| (name, Arc::new(Node::file(content, 0o644))))
            .collect();
        let bytes = tar::write(nodes.iter().map(|(name, node)| (name.clone(), node)))
            .map_err(|error| RuntimeError::Internal(error.to_string()))?;
        let told = told
            .into_iter()
            .filter_map(|(id, name)| Some((id.ok()?, name)))
            .collect();
        Ok((bytes, told))
    }

    fn plan(
        &self,
        image: &Stored,
        names: &[Reference],
        files: &mut BTreeMap<String, Bytes>,
        items: &mut Vec<Item>,
        index: &mut Vec<Descriptor>,
    ) {
        files.insert(blob(&image.id), image.config_json.clone());
        for layer in &image.layers {
            files.insert(blob(&layer.diff_id), layer.tar.clone());
        }
        files.insert(
            blob(&Digest::sha256(&image.manifest)),
            image.manifest.clone(),
        );
        let tags: Vec<String> = names.iter().map(Reference::familiar).collect();
        items.push(Item {
            config: blob(&image.id),
            repo_tags: Some(tags).filter(|tags| !tags.is_empty()),
            layers: image
                .layers
                .iter()
                .map(|layer| blob(&layer.diff_id))
                .collect(),
        });
        let plain = Descriptor::of(media::OCI_MANIFEST, &image.manifest);
        if names.is_empty() {
            index.push(plain.clone());
        }
        for name in names {
            let mut named = plain.clone();
            named
                .annotations
                .insert(IMAGE_NAME.into(), name.to_string());
            index.push(named);
        }
    }
}

/// What an archive holds: images with their names.
fn read(archive: &[u8]) -> Result<Vec<(Stored, Vec<Reference>)>> {
    let mut files: HashMap<String, Bytes> = HashMap::new();
    let mut links: Vec<(String, String)> = Vec::new();
    let source = Decompressor::new(archive).map_err(invalid)?;
    tar::read(source, |path, node| {
        match node.kind {
            Kind::File(content) => drop(files.insert(path.to_owned(), content)),
            // Old docker-archives share layers by links.
            Kind::Symlink(target) => {
                let directory = crate::fs::tree::parent(path);
                links.push((path.to_owned(), crate::fs::tree::clean(directory, &target)));
            }
            _ => {}
        }
        Ok(())
    })
    .map_err(invalid)?;
    for (path, target) in links {
        if let Some(content) = files.get(&target).cloned() {
            files.insert(path, content);
        }
    }
    let bad = |what: &str| RuntimeError::InvalidArgument(format!("invalid archive: {what}"));
    let file = |name: &str| {
        let path = crate::fs::tree::clean("/", name);
        files
            .get(&path)
            .cloned()
            .ok_or_else(|| bad(&format!("{name} is missing")))
    };
    let mut found = Vec::new();
    if let Ok(json) = file("manifest.json") {
        let items: Vec<Item> =
            serde_json::from_slice(&json).map_err(|error| bad(&error.to_string()))?;
        for item in items {
            let layers = item
                .layers
                .iter()
                .map(|name| layer(&file(name)?))
                .collect::<Result<_>>()?;
            let names = item.repo_tags.unwrap_or_default();
            let names = names
                .iter()
                .map(|name| parse_reference(name))
                .collect::<Result<_>>()?;
            found.push((Stored::new(file(&item.config)?, layers)?, names));
        }
        return Ok(found);
    }
    let index = file("index.json")?;
    let index = Index::parse(&index).map_err(|error| bad(&error.to_string()))?;
    let mut queue: Vec<(Descriptor, Vec<Reference>, usize)> = Vec::new();
    for descriptor in index.manifests {
        let name = descriptor
            .annotations
            .get(IMAGE_NAME)
            .map(|name| parse_reference(name));
        queue.push((descriptor, name.transpose()?.into_iter().collect(), 0));
    }
    while let Some((descriptor, names, depth)) = queue.pop() {
        let bytes = file(&blob(&descriptor.digest))?;
        if !descriptor.digest.verify(&bytes) {
            return Err(bad(&format!(
                "{} is not what its name says",
                descriptor.digest
            )));
        }
        match Document::parse(&bytes, Some(&descriptor.media_type)) {
            Ok(Document::Index(index)) if depth < MAX_DEPTH => {
                // One platform of it is enough; what is missing was not saved.
                let there = |d: &Descriptor| file(&blob(&d.digest)).is_ok();
                queue.extend(
                    index
                        .manifests
                        .into_iter()
                        .find(there)
                        .map(|d| (d, names, depth + 1)),
                );
            }
            Ok(Document::Manifest(manifest)) => {
                let layers = manifest
                    .layers
                    .iter()
                    .map(|descriptor| layer(&file(&blob(&descriptor.digest))?))
                    .collect::<Result<_>>()?;
                let config = file(&blob(&manifest.config.digest))?;
                found.push((Stored::new(config, layers)?, names));
            }
            Ok(Document::Index(_)) => return Err(bad("indexes in indexes in indexes")),
            Err(error) => return Err(bad(&error.to_string())),
        }
    }
    Ok(found)
}

/// A layer, plain or compressed.
fn layer(bytes: &[u8]) -> Result<Layer> {
    let mut plain = Vec::new();
    let most = tar::limits().max_bytes;
    let source = Decompressor::new(bytes).map_err(invalid)?;
    source
        .take(most)
        .read_to_end(&mut plain)
        .map_err(|error| RuntimeError::InvalidArgument(format!("invalid layer: {error}")))?;
    Layer::new(plain.into())
}

/// Loads an archive.
pub(crate) fn load(engine: Arc<Engine>, archive: ByteStream) -> BoxStream<Progress> {
    let work = async move {
        let result = match collect(archive).await {
            Ok(bytes) => read(&bytes),
            Err(error) => Err(error),
        };
        let loaded = match result {
            Ok(loaded) => loaded,
            Err(error) => return vec![Err(error)],
        };
        let mut told = Vec::new();
        let mut state = engine.lock();
        for (image, names) in loaded {
            let id = state.images.add(image, None);
            for name in &names {
                state.images.name(&id, name);
            }
            let mut texts: Vec<String> = names.iter().map(Reference::familiar).collect();
            let what = if texts.is_empty() {
                "image ID"
            } else {
                "image"
            };
            if texts.is_empty() {
                texts.push(id.to_string());
            }
            for text in texts {
                engine.emit_image("load", id.as_str(), &text);
                told.push(Ok(Progress {
                    stream: Some(format!("Loaded {what}: {text}\n")),
                    ..Progress::default()
                }));
            }
        }
        told
    };
    Box::pin(stream::once(work).flat_map(stream::iter))
}

/// Makes an image of a root file system.
pub(crate) async fn import(engine: &Engine, request: ImportRequest) -> Result<String> {
    let reference = request.reference.as_deref().filter(|text| !text.is_empty());
    let reference = reference.map(parse_reference).transpose()?;
    let platform = request.platform.as_deref().filter(|text| !text.is_empty());
    let platform = platform.map(parse_platform).transpose()?;
    let mut config = Default::default();
    coracle_spec::changes::apply(&mut config, &request.changes)?;
    let bytes = collect(request.tar).await?;
    if bytes.is_empty() {
        return Err(RuntimeError::InvalidArgument("the archive is empty".into()));
    }
    let comment = Some(request.message).filter(|message| !message.is_empty());
    let history = History {
        comment,
        ..History::default()
    };
    let image = Stored::make(None, Some(layer(&bytes)?), config, history, platform)?;
    let mut state = engine.lock();
    let id = state.images.add(image, reference.as_ref()).to_string();
    engine.emit_image("import", &id, &id);
    Ok(id)
}
