//! Images as one archive (`docker save`), which is an OCI image layout and a docker-archive at once.
//!
//! ```text
//! blobs/sha256/<hex>   everything, once
//! index.json           OCI: an entry for each name
//! manifest.json        Docker: an entry for each image
//! oci-layout
//! repositories         Docker before 1.10
//! ```
//!
//! Equal images under equal names give equal bytes.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::Read;
use std::io::Write;

use coracle_archive::Entry;
use coracle_archive::Kind;
use coracle_archive::TarWriter;
use coracle_catalog::Target;
use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::Document;
use coracle_oci::Index;
use coracle_oci::Reference;
use coracle_oci::media;
use serde::Serialize;

use crate::ImageId;
use crate::Lease;
use crate::Store;
use crate::StoreError;
use crate::images::State;
use crate::images::resolve::record;
use crate::store;

/// The annotation that Docker and containerd keep full names in.
pub(crate) const IMAGE_NAME: &str = "io.containerd.image.name";
/// The annotation of the image layout for names; by custom it has just the tag.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

const COPY: usize = 256 << 10;

/// An entry of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// What is to be in the archive.
#[derive(Default)]
struct Plan {
    blobs: BTreeMap<Digest, u64>,
    index: Vec<Descriptor>,
    items: Vec<Item>,
    repositories: BTreeMap<String, BTreeMap<String, String>>,
}

/// An image to be saved, the tags that it is saved with, and what each stands for.
struct Chosen {
    id: ImageId,
    manifest: Descriptor,
    names: BTreeMap<Reference, Descriptor>,
}

impl Store {
    /// Writes an archive of the images that `names` stand for. An id is saved without a name, a
    /// repository (a name without tag) with all its tags. Of images for several platforms, those
    /// whose content is there are saved.
    ///
    /// # Errors
    /// [`StoreError::NoSuchImage`] and its like; [`StoreError::Stream`] if `out` fails.
    pub fn save<S: AsRef<str>>(&self, names: &[S], out: impl Write) -> Result<(), StoreError> {
        if names.is_empty() {
            return Err(StoreError::Refused(
                "nothing to save: give at least one image",
            ));
        }
        let lease = self.lease();
        let plan = self.plan(names, &lease)?;
        let mut tar = TarWriter::new(out);
        for name in ["blobs/", "blobs/sha256/"] {
            entry(&mut tar, name, Kind::Directory, 0)?;
        }
        let mut dirs = BTreeSet::from(["sha256"]);
        for (digest, size) in &plan.blobs {
            if dirs.insert(digest.algorithm().as_str()) {
                entry(
                    &mut tar,
                    &format!("blobs/{}/", digest.algorithm()),
                    Kind::Directory,
                    0,
                )?;
            }
            self.save_blob(&mut tar, digest, *size)?;
        }
        save_json(&mut tar, "index.json", &Index::oci(plan.index))?;
        save_json(&mut tar, "manifest.json", &plan.items)?;
        save_bytes(&mut tar, "oci-layout", store::layout().as_bytes())?;
        if !plan.repositories.is_empty() {
            save_json(&mut tar, "repositories", &plan.repositories)?;
        }
        tar.finish().map_err(writing)?;
        Ok(())
    }

    fn plan<S: AsRef<str>>(&self, names: &[S], lease: &Lease) -> Result<Plan, StoreError> {
        // Nothing may be collected between its choice and its lease.
        let _growing = self.inner.growing();
        let state = self.inner.images.state();
        let mut plan = Plan::default();
        for chosen in choose(&state, names)? {
            self.plan_image(&chosen, &mut plan)?;
        }
        for digest in plan.blobs.keys() {
            lease.add(digest);
        }
        Ok(plan)
    }

    fn plan_image(&self, chosen: &Chosen, plan: &mut Plan) -> Result<(), StoreError> {
        if let Some(missing) = self.missing(&chosen.manifest)? {
            return Err(StoreError::Incomplete {
                image: chosen.id.clone(),
                missing,
            });
        }
        if chosen.names.is_empty() {
            self.plan_target(&chosen.manifest, None, plan)?;
        }
        for (name, target) in &chosen.names {
            self.plan_target(target, Some(name), plan)?;
        }
        // A name may stand for the same image with other compression.
        self.plan_tree(&chosen.manifest, &mut plan.blobs)?;
        let manifest = self.content(&chosen.manifest)?.manifest;
        let tags: Vec<String> = chosen.names.keys().map(Reference::familiar).collect();
        plan.items.push(Item {
            config: blob_name(&manifest.config.digest),
            repo_tags: Some(tags).filter(|tags| !tags.is_empty()),
            layers: manifest
                .layers
                .iter()
                .map(|layer| blob_name(&layer.digest))
                .collect(),
        });
        if let Some(top) = manifest.layers.last() {
            for name in chosen.names.keys() {
                plan.repositories
                    .entry(name.familiar_name())
                    .or_default()
                    .insert(
                        name.tag().unwrap_or_default().into(),
                        top.digest.hex().into(),
                    );
            }
        }
        Ok(())
    }

    /// Adds what a name stands for: all of an index if all of it is there, else the manifests that
    /// are.
    fn plan_target(
        &self,
        target: &Descriptor,
        name: Option<&Reference>,
        plan: &mut Plan,
    ) -> Result<(), StoreError> {
        let mut whole = BTreeMap::new();
        let targets = match self.plan_tree(target, &mut whole)? {
            true => vec![target.clone()],
            false => {
                whole.clear();
                let platforms = self.platforms(target)?;
                platforms
                    .into_iter()
                    .map(|(platform, manifest)| Descriptor {
                        platform: Some(platform),
                        ..manifest
                    })
                    .collect()
            }
        };
        for mut target in targets {
            self.plan_tree(&target, &mut whole)?;
            if let Some(name) = name {
                target
                    .annotations
                    .insert(IMAGE_NAME.into(), name.to_string());
                target
                    .annotations
                    .insert(REF_NAME.into(), name.tag().unwrap_or_default().into());
            }
            if !plan.index.contains(&target) {
                plan.index.push(target);
            }
        }
        plan.blobs.append(&mut whole);
        Ok(())
    }

    /// Adds everything below `target`. Returns whether all of it is there; foreign layers need not
    /// be.
    fn plan_tree(
        &self,
        target: &Descriptor,
        blobs: &mut BTreeMap<Digest, u64>,
    ) -> Result<bool, StoreError> {
        let mut queue = vec![target.clone()];
        while let Some(next) = queue.pop() {
            let Some(blob) = self.blob(&next.digest)? else {
                if media::is_foreign(&next.media_type) {
                    continue;
                }
                return Ok(false);
            };
            if blobs.insert(next.digest.clone(), blob.size).is_some() {
                continue;
            }
            if media::is_index(&next.media_type) || media::is_manifest(&next.media_type) {
                match self.document(&next)? {
                    Document::Index(index) => queue.extend(index.manifests),
                    Document::Manifest(manifest) => queue.extend(manifest.children().cloned()),
                }
            }
        }
        Ok(true)
    }

    fn save_blob(
        &self,
        tar: &mut TarWriter<impl Write>,
        digest: &Digest,
        size: u64,
    ) -> Result<(), StoreError> {
        let mut file = self.open_blob(digest)?;
        entry(tar, &blob_name(digest), Kind::File, size)?;
        let mut buffer = vec![0; COPY];
        loop {
            let count = file
                .read(&mut buffer)
                .map_err(StoreError::io("reading", self.blob_path(digest)))?;
            if count == 0 {
                break;
            }
            tar.data(buffer.get(..count).unwrap_or_default())
                .map_err(writing)?;
        }
        if tar.missing() > 0 {
            return Err(StoreError::Damaged(digest.clone()));
        }
        Ok(())
    }
}

/// Finds the images that names stand for, each once, in the order in which they are named.
fn choose<S: AsRef<str>>(state: &State, names: &[S]) -> Result<Vec<Chosen>, StoreError> {
    let mut chosen: Vec<Chosen> = Vec::new();
    let mut add = |id: &ImageId, names: Vec<Reference>| -> Result<(), StoreError> {
        let record = record(state, id)?;
        let at = match chosen.iter().position(|chosen| chosen.id == *id) {
            Some(at) => at,
            None => {
                let manifest = record.manifest.clone();
                chosen.push(Chosen {
                    id: id.clone(),
                    manifest,
                    names: BTreeMap::new(),
                });
                chosen.len() - 1
            }
        };
        for name in names {
            let target = record
                .names
                .iter()
                .find(|n| n.name == name)
                .map(|n| n.target.clone());
            if let (Some(target), Some(chosen)) = (target, chosen.get_mut(at)) {
                chosen.names.insert(name, target);
            }
        }
        Ok(())
    };
    for text in names {
        let text = text.as_ref();
        if let Ok(repository) = Reference::parse_named(text)
            && repository.tag().is_none()
            && repository.digest().is_none()
        {
            let tags: Vec<_> = state
                .names
                .iter()
                .filter(|(name, _)| {
                    name.digest().is_none()
                        && name.domain() == repository.domain()
                        && name.path() == repository.path()
                })
                .collect();
            if !tags.is_empty() {
                for (name, id) in tags {
                    add(id, vec![name.clone()])?;
                }
                continue;
            }
        }
        match state.find(text)? {
            Target::Id(id) => add(&id, Vec::new())?,
            Target::Name(id, name) => add(&id, vec![name])?,
        }
    }
    Ok(chosen)
}

fn blob_name(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

fn entry(
    tar: &mut TarWriter<impl Write>,
    name: &str,
    kind: Kind,
    size: u64,
) -> Result<(), StoreError> {
    let mode = if kind == Kind::Directory {
        0o755
    } else {
        0o644
    };
    let entry = Entry {
        path: name.into(),
        kind,
        mode,
        size,
        ..Entry::default()
    };
    tar.entry(&entry).map_err(writing)
}

fn save_bytes(tar: &mut TarWriter<impl Write>, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
    entry(tar, name, Kind::File, bytes.len() as u64)?;
    tar.data(bytes).map_err(writing)
}

fn save_json(
    tar: &mut TarWriter<impl Write>,
    name: &str,
    value: &impl Serialize,
) -> Result<(), StoreError> {
    let bytes = serde_json::to_vec(value).map_err(|error| StoreError::Stream {
        action: "encoding",
        source: error.into(),
    })?;
    save_bytes(tar, name, &bytes)
}

fn writing(error: coracle_archive::Error) -> StoreError {
    let source = match error {
        coracle_archive::Error::Write(source) => source,
        other => std::io::Error::other(other),
    };
    StoreError::Stream {
        action: "writing the archive",
        source,
    }
}
