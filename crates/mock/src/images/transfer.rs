//! A registry, simulated: images move between it and the store.

use std::sync::Arc;

use coracle_oci::Digest;
use coracle_runtime::image::{
    Distribution, DistributionPlatform, LoginStatus, Progress, PullRequest, PushRequest,
    RegistryAuth,
};
use coracle_runtime::io::BoxStream;
use coracle_runtime::{Result, RuntimeError};
use futures_util::stream;

use super::{parse_platform, parse_reference};
use crate::engine::Engine;

/// The user name that the simulated registry refuses.
const REFUSED_USER: &str = "nobody";

fn line(id: &str, status: impl Into<String>) -> Result<Progress> {
    Ok(Progress {
        id: id.into(),
        status: status.into(),
        ..Progress::default()
    })
}

/// Pulls what the simulated registry has.
pub(crate) fn pull(engine: &Engine, request: PullRequest) -> Result<BoxStream<Progress>> {
    let reference = parse_reference(&request.reference)?;
    if let Some(platform) = request.platform.as_deref().filter(|text| !text.is_empty()) {
        parse_platform(platform)?;
    }
    let mut state = engine.lock();
    let mut found: Vec<_> = state
        .images
        .registry
        .iter()
        .filter(|(name, _)| match request.all_tags {
            true => name.name() == reference.name(),
            false => **name == reference,
        })
        .map(|(name, image)| (name.clone(), image.clone()))
        .collect();
    if found.is_empty() {
        // A name with a digest fits whatever tag the registry has for it.
        found.extend(reference.digest().and_then(|digest| {
            let image = state
                .images
                .registry
                .values()
                .find(|image| Digest::sha256(&image.manifest) == *digest)?;
            Some((reference.clone(), image.clone()))
        }));
    }
    if found.is_empty() {
        return Err(RuntimeError::ImageNotFound(format!(
            "manifest for {} not found: manifest unknown: manifest unknown",
            reference.familiar()
        )));
    }
    let mut told = Vec::new();
    for (name, image) in found {
        let tag = name.tag().unwrap_or_default();
        told.push(line(tag, format!("Pulling from {}", name.path())));
        let digest = Digest::sha256(&image.manifest);
        let new = !state.images.images.contains_key(&image.id);
        for layer in &image.layers {
            let id = layer.diff_id.short();
            if !new {
                told.push(line(id, "Already exists"));
                continue;
            }
            told.push(line(id, "Pulling fs layer"));
            let size = layer.tar.len() as u64;
            told.push(Ok(Progress {
                id: id.into(),
                status: "Downloading".into(),
                bytes: Some((size, Some(size))),
                ..Progress::default()
            }));
            told.push(line(id, "Download complete"));
            told.push(line(id, "Pull complete"));
        }
        told.push(line("", format!("Digest: {digest}")));
        let what = if new {
            "Downloaded newer image"
        } else {
            "Image is up to date"
        };
        told.push(line("", format!("Status: {what} for {}", name.familiar())));
        let id = state.images.add(image, Some(&name));
        state.images.name(&id, &name.with_digest(digest));
        engine.emit_image("pull", &name.familiar(), &name.familiar_name());
    }
    Ok(Box::pin(stream::iter(told)))
}

/// Pushes to the simulated registry.
pub(crate) fn push(engine: &Arc<Engine>, request: PushRequest) -> Result<BoxStream<Progress>> {
    let reference = parse_reference(&request.reference)?;
    let mut state = engine.lock();
    let images: Vec<_> = state
        .images
        .images
        .values()
        .flat_map(|image| {
            image
                .names
                .iter()
                .map(move |name| (name.clone(), image.clone()))
        })
        .filter(|(name, _)| match request.all_tags {
            true => name.name() == reference.name(),
            false => *name == reference,
        })
        .collect();
    if images.is_empty() {
        return Err(RuntimeError::ImageNotFound(format!(
            "An image does not exist locally with the tag: {}",
            reference.familiar_name()
        )));
    }
    let mut told = vec![line(
        "",
        format!("The push refers to repository [{}]", reference.name()),
    )];
    for (name, mut image) in images {
        for layer in &image.layers {
            told.push(line(layer.diff_id.short(), "Pushed"));
        }
        let digest = Digest::sha256(&image.manifest);
        let tag = name.tag().unwrap_or_default().to_owned();
        let size = image.manifest.len();
        told.push(line("", format!("{tag}: digest: {digest} size: {size}")));
        told.push(Ok(Progress {
            aux: Some(serde_json::json!({"Tag": tag, "Digest": digest.as_str(), "Size": size})),
            ..Progress::default()
        }));
        state.images.name(&image.id, &name.with_digest(digest));
        image.names.clear();
        image.digests.clear();
        image.parent = None;
        state.images.registry.insert(name.clone(), image);
        engine.emit_image("push", &name.familiar(), &name.familiar_name());
    }
    Ok(Box::pin(stream::iter(told)))
}

/// What the simulated registry has under a name.
pub(crate) fn distribution(engine: &Engine, name: &str) -> Result<Distribution> {
    let reference = parse_reference(name)?;
    let state = engine.lock();
    let image = state.images.registry.get(&reference).ok_or_else(|| {
        RuntimeError::ImageNotFound(format!(
            "manifest for {} not found: manifest unknown: manifest unknown",
            reference.familiar()
        ))
    })?;
    let image = image.describe();
    Ok(Distribution {
        media_type: image.target_media_type,
        digest: image.target_digest,
        size: image.target_size,
        platforms: vec![DistributionPlatform {
            architecture: image.architecture,
            os: image.os,
            variant: image.variant,
            ..DistributionPlatform::default()
        }],
    })
}

/// Anybody but `nobody` may log in.
pub(crate) fn login(auth: &RegistryAuth) -> Result<LoginStatus> {
    if auth.username == REFUSED_USER {
        return Err(RuntimeError::Unauthorized(
            "unauthorized: incorrect username or password".into(),
        ));
    }
    Ok(LoginStatus {
        status: "Login Succeeded".into(),
        identity_token: String::new(),
    })
}
