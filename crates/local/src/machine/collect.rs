//! Which templates of machines are kept, and how much of the disk they take.
//!
//! Under `machines/` there is `NUMBER.json` for each shape that a template was asked for, `NUMBER.key`
//! with its template's name once there is one (changed when a machine of it starts), and the console of
//! its boot. A machine that runs keeps the memory that it is a copy of, whoever removes its file.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use coracle_runtime::system::MachineTemplate;
use coracle_task::MachineConfig;

use super::{default_shape, is_machine, shape, templates};
use crate::container::files::blocking;
use crate::durable;
use crate::engine::Engine;

/// For how long a template is kept that no machine starts from.
const UNUSED: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// The same of one that no shape is known of: it may just have been made.
const STRAY: Duration = Duration::from_secs(60 * 60);
/// How often it is looked.
const PAUSE: Duration = Duration::from_secs(6 * 60 * 60);

/// Which templates go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unneeded {
    /// Those that nobody used for long, or that nobody can use any more.
    ForLong,
    /// Those that no container of now would use, too.
    Now,
}

/// Removes what is not needed, now and then.
pub(crate) async fn watch(engine: Arc<Engine>) {
    let mut turns = tokio::time::interval(PAUSE);
    loop {
        turns.tick().await;
        let _freed = collect(&engine, Unneeded::ForLong).await;
    }
}

/// Removes templates; how many bytes that frees.
pub(crate) async fn collect(engine: &Arc<Engine>, which: Unneeded) -> u64 {
    let wanted = match which {
        Unneeded::ForLong => None,
        Unneeded::Now => Some(wanted(engine).await),
    };
    let worker = engine.clone();
    let collected = blocking(move || {
        let place = Place::of(&worker);
        let mut freed = 0;
        let mut known = HashSet::new();
        for shape in place.shapes() {
            if shape.is_needed(wanted.as_ref()) {
                known.extend(shape.key.clone());
                continue;
            }
            freed += place.remove(&shape);
            worker.machines.asked.forget(shape.number);
        }
        for (key, template) in place.templates() {
            if !known.contains(&key) && age(&template) > STRAY {
                freed += discard(&template);
            }
        }
        Ok(freed)
    });
    collected.await.unwrap_or_default()
}

/// The templates that there are.
pub(crate) async fn list(engine: &Arc<Engine>) -> Vec<MachineTemplate> {
    let wanted = wanted(engine).await;
    let worker = engine.clone();
    let listed = blocking(move || {
        let place = Place::of(&worker);
        let needed: HashSet<String> = place
            .shapes()
            .into_iter()
            .filter(|shape| shape.is_needed(Some(&wanted)))
            .filter_map(|shape| shape.key)
            .collect();
        let described = place.templates().into_iter().map(|(key, template)| {
            let in_use = needed.contains(&key);
            MachineTemplate {
                size: size(&template),
                name: key,
                in_use,
            }
        });
        Ok(described.collect())
    });
    listed.await.unwrap_or_default()
}

/// The shapes of the default machine and of all containers'.
async fn wanted(engine: &Arc<Engine>) -> HashSet<u64> {
    let mut wanted = HashSet::new();
    if let Ok(shape) = default_shape(engine).await {
        wanted.insert(templates::number(&shape));
    }
    for handle in engine.containers.all() {
        let now = handle.now();
        let host_config = &now.record.host_config;
        if is_machine(host_config)
            && let Ok(shape) = shape(engine, host_config).await
        {
            wanted.insert(templates::number(&shape));
        }
    }
    wanted
}

/// Where it all is.
struct Place(PathBuf);

/// A shape that a template was asked for.
struct Shape {
    number: u64,
    config: Option<MachineConfig>,
    key: Option<String>,
    /// How long ago a machine of it started, or it was asked for.
    unused: Duration,
}

impl Shape {
    fn is_needed(&self, wanted: Option<&HashSet<u64>>) -> bool {
        let Some(config) = &self.config else {
            return false;
        };
        let inputs = [&config.qemu, &config.kernel, &config.initrd];
        inputs.into_iter().all(|input| input.exists())
            && self.unused < UNUSED
            && wanted.is_none_or(|wanted| wanted.contains(&self.number))
    }
}

impl Place {
    fn of(engine: &Engine) -> Self {
        Self(engine.config.data_root.join("machines"))
    }

    fn file(&self, number: u64, kind: &str) -> PathBuf {
        self.0.join(format!("{number:016x}.{kind}"))
    }

    fn shapes(&self) -> Vec<Shape> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                let digits = name.strip_suffix(".json").filter(|text| text.len() == 16)?;
                let number = u64::from_str_radix(digits, 16).ok()?;
                let key = templates::key(&self.file(number, "key"));
                let last = if key.is_some() { "key" } else { "json" };
                Some(Shape {
                    config: durable::read_json(&entry.path()).ok().flatten(),
                    key,
                    unused: age(&self.file(number, last)),
                    number,
                })
            })
            .collect()
    }

    /// Every template, by its key.
    fn templates(&self) -> Vec<(String, PathBuf)> {
        let entries = fs::read_dir(self.0.join("templates"));
        let entries = entries.into_iter().flatten().flatten();
        entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                templates::is_key(&name).then(|| (name, entry.path()))
            })
            .collect()
    }

    fn remove(&self, shape: &Shape) -> u64 {
        let freed = shape
            .key
            .as_ref()
            .map_or(0, |key| discard(&self.0.join("templates").join(key)));
        for kind in ["key", "boot.log", "json"] {
            let _was_not_there = fs::remove_file(self.file(shape.number, kind));
        }
        freed
    }
}

/// Removes a template; how many bytes it had. Its description goes first: without it is none.
fn discard(template: &Path) -> u64 {
    let size = size(template);
    let _is_damaged_already = fs::remove_file(template.join("template.json"));
    match durable::remove_dir(template) {
        Ok(()) => size,
        Err(error) => {
            tracing::warn!(template = %template.display(), %error, "cannot remove a template");
            0
        }
    }
}

/// Bytes on disk of a directory's files.
fn size(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let files = entries.filter_map(|entry| entry.metadata().ok());
    files.map(|found| found.blocks() * 512).sum()
}

fn age(path: &Path) -> Duration {
    let changed = fs::metadata(path).and_then(|found| found.modified());
    let since = |changed| SystemTime::now().duration_since(changed).ok();
    changed.ok().and_then(since).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(dir: &Path, unused: Duration) -> Shape {
        let there = dir.to_str().unwrap();
        let config = serde_json::json!({
            "qemu": there, "accelerator": "tcg", "kernel": there, "initrd": there,
            "kernel_args": [], "cpus": 1, "memory": 1, "overhead": 0, "templates": null,
            "image": "", "layer": "", "interfaces": [], "copies": [], "emulator": null,
            "user": null, "boot_log": "", "pod": "",
        });
        Shape {
            number: 7,
            config: serde_json::from_value(config).ok(),
            key: None,
            unused,
        }
    }

    #[test]
    fn what_is_used_can_be_used_and_is_wanted_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut one = shape(dir.path(), Duration::ZERO);
        assert!(one.config.is_some());
        assert!(one.is_needed(None));
        assert!(one.is_needed(Some(&HashSet::from([7]))));
        assert!(!one.is_needed(Some(&HashSet::from([8]))));
        assert!(!shape(dir.path(), UNUSED).is_needed(None));
        if let Some(config) = &mut one.config {
            config.kernel = dir.path().join("gone");
        }
        assert!(!one.is_needed(None));
    }
}
