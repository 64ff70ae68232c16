//! Images as archives: saved, loaded, imported.

use std::sync::Arc;

use coracle_oci::Reference;
use coracle_runtime::image::{ImportRequest, Progress};
use coracle_runtime::io::{BoxStream, ByteStream};
use coracle_runtime::{Result, RuntimeError};
use coracle_store::Import;
use tokio::sync::mpsc;

use crate::container::files::blocking;
use crate::engine::Engine;
use crate::images::{self, parse_platform};
use crate::{pipe, transfer};

/// Writes images as one archive. Names are looked up first, so that a wrong one is the call's error.
pub(crate) async fn save(engine: Arc<Engine>, names: Vec<String>) -> Result<ByteStream> {
    let (looking, looked_up) = (engine.clone(), names.clone());
    blocking(move || {
        for name in &looked_up {
            let repository = Reference::parse_normalized(name)
                .is_ok_and(|reference| !looking.images.store.tags(&reference).is_empty());
            if !repository {
                looking.images.store.image_id(name).map_err(images::error)?;
            }
        }
        Ok(())
    })
    .await?;
    Ok(pipe::stream(move |out| {
        engine
            .images
            .store
            .save(&names, out)
            .map_err(images::error)?;
        for name in &names {
            if let Ok(id) = engine.images.store.image_id(name) {
                engine.emit_image("save", id.as_ref(), name);
            }
        }
        Ok(())
    }))
}

/// Reads an archive of images.
pub(crate) fn load(engine: Arc<Engine>, tar: ByteStream) -> BoxStream<Progress> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let reader = pipe::reader(tar);
    let work = async move {
        let telling = sender.clone();
        let result = blocking(move || {
            let store = &engine.images.store;
            let loaded = store
                .load(reader, &mut |step| {
                    let id: String = step.name.chars().take(12).collect();
                    let _ = telling.send(Ok(Progress {
                        id,
                        status: "Loading layer".into(),
                        bytes: Some((step.done, Some(step.size))),
                        ..Default::default()
                    }));
                })
                .map_err(images::error)?;
            for image in loaded.images {
                let view = store.image_by_id(&image.id).map_err(images::error)?;
                if let Err(error) = transfer::unpack_image(&engine, &view) {
                    engine.images.discard(&image.id);
                    return Err(error);
                }
                let mut names: Vec<String> =
                    image.references.iter().map(Reference::familiar).collect();
                let unnamed = names.is_empty();
                if unnamed {
                    names.push(image.id.to_string());
                }
                for name in names {
                    engine.emit_image("load", image.id.as_ref(), &name);
                    let what = if unnamed { "image ID" } else { "image" };
                    let _ = telling.send(Ok(Progress {
                        stream: Some(format!("Loaded {what}: {name}\n")),
                        ..Default::default()
                    }));
                }
            }
            Ok(())
        })
        .await;
        if let Err(error) = result {
            let _ = sender.send(Err(error));
        }
    };
    transfer::with_work(receiver, work)
}

/// Makes an image of a root file system.
pub(crate) async fn import(engine: Arc<Engine>, request: ImportRequest) -> Result<String> {
    let reference = request
        .reference
        .as_deref()
        .filter(|text| !text.is_empty())
        .map(Reference::parse_normalized)
        .transpose()
        .map_err(|error| RuntimeError::InvalidArgument(error.to_string()))?;
    let platform = request.platform.as_deref().filter(|text| !text.is_empty());
    let platform = platform.map(parse_platform).transpose()?;
    let mut config = Default::default();
    coracle_spec::changes::apply(&mut config, &request.changes)?;
    let import = Import {
        config,
        message: request.message,
        platform,
    };
    let reader = pipe::reader(request.tar);
    blocking(move || {
        let store = &engine.images.store;
        let replaced = store
            .import(reader, import, reference.as_ref())
            .map_err(images::error)?;
        let image = store.image_by_id(&replaced.id).map_err(images::error)?;
        if let Err(error) = transfer::unpack_image(&engine, &image) {
            engine.images.discard(&image.id);
            return Err(error);
        }
        let id = replaced.id.to_string();
        engine.emit_image("import", &id, &id);
        Ok(id)
    })
    .await
}
