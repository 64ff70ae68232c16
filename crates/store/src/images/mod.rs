//! The image index: what names stand for, kept in `images.json`.
//!
//! One [`Record`] for each image, keyed by image id. A name moves from one image to another; an
//! image without any name stays ("dangling") until it is removed.

pub(crate) mod remove;
pub(crate) mod resolve;
pub(crate) mod set;

use std::collections::BTreeMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;

use coracle_oci::Descriptor;
use coracle_oci::Digest;
use coracle_oci::Reference;
use jiff::Timestamp;
use serde::Deserialize;
use serde::Serialize;

use crate::StoreError;
use crate::files;
use crate::store::locked;

/// The digest of an image's configuration.
pub type ImageId = Digest;

const FILE: &str = "images.json";
const VERSION: u32 = 1;
/// Bytes of `images.json` beyond which something is wrong: some 50,000 images.
const LIMIT: u64 = 64 << 20;
/// The start of the name that an unreadable `images.json` is given.
const SET_ASIDE: &str = "images.json.unreadable-";

/// Where an image came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A registry: its name by digest is noted beside the tag.
    Registry,
    /// Made or loaded here.
    Local,
}

/// An image in the index.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    pub(crate) id: ImageId,
    /// The manifest of the platform that it is.
    pub(crate) manifest: Descriptor,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<ImageId>,
    /// When it came into the store.
    pub(crate) added: Timestamp,
    /// When it was last given a tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tagged: Option<Timestamp>,
    /// Names with tags.
    #[serde(default)]
    pub(crate) names: Vec<Name>,
    /// Names with digests.
    #[serde(default)]
    pub(crate) digests: Vec<Name>,
}

/// A name and what it stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Name {
    pub(crate) name: Reference,
    /// A manifest, or an index with the image's manifest in it.
    pub(crate) target: Descriptor,
    pub(crate) updated: Timestamp,
}

impl Record {
    pub(crate) fn new(id: ImageId, manifest: Descriptor) -> Self {
        Self {
            id,
            manifest,
            parent: None,
            added: Timestamp::now(),
            tagged: None,
            names: Vec::new(),
            digests: Vec::new(),
        }
    }

    /// All its names, those with tags first.
    pub(crate) fn all_names(&self) -> impl Iterator<Item = &Name> {
        self.names.iter().chain(&self.digests)
    }

    /// What must be kept for it.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.manifest).chain(self.all_names().map(|name| &name.target))
    }

    pub(crate) fn remove_name(&mut self, name: &Reference) {
        self.names.retain(|n| n.name != *name);
        self.digests.retain(|n| n.name != *name);
    }
}

/// All records, and which of them each name belongs to.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) images: BTreeMap<ImageId, Record>,
    pub(crate) names: BTreeMap<Reference, ImageId>,
}

impl State {
    /// The images that were made from `id` here.
    pub(crate) fn children<'a>(&'a self, id: &'a ImageId) -> impl Iterator<Item = &'a Record> {
        self.images
            .values()
            .filter(move |record| record.parent.as_ref() == Some(id))
    }

    fn from_records(records: Vec<Record>) -> Result<Self, String> {
        let mut state = Self::default();
        for record in records {
            for name in record.all_names() {
                if state
                    .names
                    .insert(name.name.clone(), record.id.clone())
                    .is_some()
                {
                    return Err(format!("{} names two images", name.name));
                }
            }
            for name in &record.names {
                if name.name.tag().is_none() || name.name.digest().is_some() {
                    return Err(format!("{} is no name with a tag", name.name));
                }
            }
            if let Some(other) = state.images.insert(record.id.clone(), record) {
                return Err(format!("{} is there twice", other.id));
            }
        }
        Ok(state)
    }
}

/// The content of `images.json`.
#[derive(Serialize)]
struct Saved<'a> {
    version: u32,
    images: Vec<&'a Record>,
}

#[derive(Deserialize)]
struct Loaded {
    images: Vec<Record>,
}

#[derive(Deserialize)]
struct Version {
    version: u32,
}

/// The image index: readers see one consistent state, writers take turns.
pub(crate) struct Images {
    root: PathBuf,
    state: RwLock<Arc<State>>,
    writing: Mutex<()>,
}

impl Images {
    pub(crate) fn open(root: &Path) -> Result<Self, StoreError> {
        let path = root.join(FILE);
        let bytes = files::read(&path, LIMIT);
        let state = match bytes.map_err(|error| error.to_string()).and_then(parse) {
            Ok(state) => state,
            Err(reason) => {
                let aside = set_aside(root, &path)?;
                tracing::error!(
                    "{} could not be read and was set aside as {}: {reason}",
                    path.display(),
                    aside.display()
                );
                State::default()
            }
        };
        Ok(Self {
            root: root.to_owned(),
            state: RwLock::new(Arc::new(state)),
            writing: Mutex::default(),
        })
    }

    /// What is in the index now.
    pub(crate) fn state(&self) -> Arc<State> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the index: the file first, then what readers see. If `change` or the file fails,
    /// nothing has changed.
    pub(crate) fn change<T>(
        &self,
        change: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let _writing = locked(&self.writing);
        let old = self.state();
        let mut new = State::clone(&old);
        let result = change(&mut new)?;
        if new.images == old.images {
            return Ok(result);
        }
        new.names = new
            .images
            .values()
            .flat_map(|record| {
                record
                    .all_names()
                    .map(|n| (n.name.clone(), record.id.clone()))
            })
            .collect();
        let saved = Saved {
            version: VERSION,
            images: new.images.values().collect(),
        };
        let bytes = serde_json::to_vec_pretty(&saved)
            .map_err(|error| StoreError::io("writing", self.root.join(FILE))(error))?;
        files::replace(&self.root, FILE, &bytes)?;
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(result)
    }

    /// An index that could not be read and that nobody has looked at yet.
    pub(crate) fn set_aside(&self) -> Result<Option<PathBuf>, StoreError> {
        let listing =
            std::fs::read_dir(&self.root).map_err(StoreError::io("listing", &self.root))?;
        for entry in listing {
            let entry = entry.map_err(StoreError::io("listing", &self.root))?;
            if entry.file_name().to_string_lossy().starts_with(SET_ASIDE) {
                return Ok(Some(entry.path()));
            }
        }
        Ok(None)
    }
}

fn parse(bytes: Option<Vec<u8>>) -> Result<State, String> {
    let Some(bytes) = bytes else {
        return Ok(State::default());
    };
    let reason = |error: serde_json::Error| error.to_string();
    let Version { version } = serde_json::from_slice(&bytes).map_err(reason)?;
    if version != VERSION {
        return Err(format!(
            "it has version {version}, this program knows {VERSION}"
        ));
    }
    let loaded: Loaded = serde_json::from_slice(&bytes).map_err(reason)?;
    State::from_records(loaded.images)
}

fn set_aside(root: &Path, path: &Path) -> Result<PathBuf, StoreError> {
    let now = Timestamp::now().as_nanosecond();
    let aside = root.join(format!("{SET_ASIDE}{now}"));
    std::fs::rename(path, &aside).map_err(StoreError::io("setting aside", path))?;
    files::sync_dir(root)?;
    Ok(aside)
}
