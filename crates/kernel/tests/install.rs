//! Real kernels into a store.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;

use coracle_kernel::{Error, Format, Install, KernelStore, Source};

fn install(source: Source) -> Install {
    Install {
        name: None,
        source,
        modules: Vec::new(),
    }
}

#[test]
fn the_projects_own() {
    let Some(folder) = common::built() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let store = KernelStore::open(dir.path()).unwrap();
    let kernel = store
        .install(&install(Source::detect(&folder).unwrap()))
        .unwrap();
    assert!(kernel.release.ends_with("-coracle"), "{kernel:?}");
    assert_eq!(kernel.name, kernel.release);
    assert_eq!(kernel.format, Format::Pvh);
    assert!(kernel.modules.is_empty() && kernel.config.is_some());
    assert_eq!(store.default().unwrap(), kernel);

    // The same kernel by its file alone: the configuration is inside, the digest the same.
    let file = Install {
        name: Some("again".to_owned()),
        ..install(Source::detect(&folder.join("vmlinux")).unwrap())
    };
    let again = store.install(&file).unwrap();
    assert_eq!(again.digest, kernel.digest);
    assert_eq!(
        fs::read(again.config.unwrap()).unwrap(),
        fs::read(kernel.config.unwrap()).unwrap()
    );
    assert_eq!(store.default().unwrap().name, kernel.name);
}

#[test]
fn debians_package() {
    let Some(package) = common::package() else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let store = KernelStore::open(dir.path()).unwrap();
    let more = Install {
        modules: vec!["nf-tables".to_owned()],
        ..install(Source::detect(&package).unwrap())
    };
    let kernel = store.install(&more).unwrap();
    assert_eq!(kernel.format, Format::Pvh);
    assert!(kernel.release.contains("cloud"), "{kernel:?}");
    let names: Vec<&str> = kernel
        .listed
        .iter()
        .map(|module| module.name.as_str())
        .collect();
    let place = |name: &str| {
        let place = names.iter().position(|found| *found == name);
        place.unwrap_or_else(|| panic!("{name} is not in {names:?}"))
    };
    assert!(place("virtio_ring") < place("virtio"));
    assert!(place("virtio") < place("virtio_pci"));
    assert!(place("nfnetlink") < place("nf_tables"));
    for name in [
        "virtio_blk",
        "virtio_console",
        "overlay",
        "fuse",
        "nf_tables",
    ] {
        place(name);
    }
    for (index, path) in kernel.modules.iter().enumerate() {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with(&format!("{index:03}-")), "{name}");
        assert!(fs::read(path).unwrap().starts_with(b"\x7fELF"));
    }

    let missing = Install {
        modules: vec!["no_such".to_owned()],
        name: Some("other".to_owned()),
        ..more
    };
    assert!(matches!(store.install(&missing), Err(Error::Lacking(_))));
    assert_eq!(store.list().unwrap().len(), 1);
}
