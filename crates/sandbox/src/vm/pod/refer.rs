//! What a member's specification says of other containers: the engine doesn't know the guest's process
//! ids, so a path `/proc/<container's id>/…` stands for that of the container's first process.

use std::path::Path;
use std::path::PathBuf;

use coracle_guest::Agent;
use oci_spec::runtime::Spec;

use crate::Result;
use crate::SandboxError;

/// The length of a container's id: no process has one that long.
const ID: usize = 64;

/// The container, and the rest of the path.
fn parse(path: &Path) -> Option<(&str, &Path)> {
    let rest = path.strip_prefix("/proc").ok()?;
    let mut parts = rest.components();
    let id = parts.next()?.as_os_str().to_str()?;
    let is_id = id.len() == ID && id.bytes().all(|b| b.is_ascii_hexdigit());
    is_id.then_some((id, parts.as_path()))
}

/// Whether a path is in another container of the same machine.
pub(crate) fn is_reference(path: &Path) -> bool {
    parse(path).is_some()
}

async fn place(agent: &Agent, path: &Path) -> Result<Option<PathBuf>> {
    let Some((id, rest)) = parse(path) else {
        return Ok(None);
    };
    let found = agent.leader(id).await;
    let pid = found.map_err(|error| SandboxError::state(error.to_string()))?;
    Ok(Some(PathBuf::from(format!("/proc/{pid}")).join(rest)))
}

/// Puts the guest's process ids into a specification's namespaces and mounts.
pub(crate) async fn resolve(agent: &Agent, spec: &mut Spec) -> Result<()> {
    if let Some(linux) = spec.linux_mut()
        && let Some(mut namespaces) = linux.namespaces().clone()
    {
        for namespace in &mut namespaces {
            if let Some(path) = namespace.path()
                && let Some(path) = place(agent, path).await?
            {
                namespace.set_path(Some(path));
            }
        }
        linux.set_namespaces(Some(namespaces));
    }
    if let Some(mut mounts) = spec.mounts().clone() {
        for mount in &mut mounts {
            if let Some(source) = mount.source()
                && let Some(source) = place(agent, source).await?
            {
                mount.set_source(Some(source));
            }
        }
        spec.set_mounts(Some(mounts));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_of_containers_are_references() {
        let id = "0123456789abcdef".repeat(4);
        let path = PathBuf::from(format!("/proc/{id}/ns/pid"));
        assert_eq!(parse(&path), Some((id.as_str(), Path::new("ns/pid"))));
        for path in ["/proc/1/ns/net", "/proc", "/srv/x", "proc/x"] {
            assert!(!is_reference(Path::new(path)), "{path}");
        }
    }
}
