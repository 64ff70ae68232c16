//! What a store holds, whatever happens to it.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

use coracle_kernel::{Error, Install, KernelStore, Source, sample};

struct Place {
    dir: tempfile::TempDir,
    store: KernelStore,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let store = KernelStore::open(&dir.path().join("kernels")).unwrap();
        Place { dir, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn given(&self, contents: &[u8]) -> PathBuf {
        let path = self.path("given");
        fs::write(&path, contents).unwrap();
        path
    }

    fn install(&self, name: &str) -> coracle_kernel::Kernel {
        let path = self.given(&sample::vmlinux("6.1.0-check"));
        self.store.install(&named(name, &path)).unwrap()
    }

    fn names(&self) -> Vec<String> {
        let kernels = self.store.list().unwrap().into_iter();
        kernels.map(|kernel| kernel.name).collect()
    }

    /// What is in the store's directory, sorted.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("kernels")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}

fn named(name: &str, path: &Path) -> Install {
    Install {
        name: (!name.is_empty()).then(|| name.to_owned()),
        source: Source::detect(path).unwrap(),
        modules: Vec::new(),
    }
}

#[test]
fn the_first_is_the_default_until_another_is() {
    let place = Place::new();
    assert!(matches!(place.store.default(), Err(Error::NoDefault)));
    place.install("b");
    place.install("a");
    assert_eq!(place.names(), ["a", "b"]);
    assert_eq!(place.store.default().unwrap().name, "b");
    assert!(matches!(place.store.remove("b"), Err(Error::IsDefault(_))));
    place.store.set_default("a").unwrap();
    place.store.remove("b").unwrap();
    let store = KernelStore::open(&place.path("kernels")).unwrap();
    assert_eq!(store.default().unwrap().name, "a");
    store.remove("a").unwrap();
    assert!(matches!(store.default(), Err(Error::NoDefault)));
    assert_eq!(place.files(), Vec::<String>::new());
}

#[test]
fn a_package_with_its_modules() {
    let place = Place::new();
    let path = place.given(&sample::whole_package("6.1.0+check"));
    let kernel = place.store.install(&named("", &path)).unwrap();
    assert_eq!(
        (&*kernel.name, &*kernel.release),
        ("6.1.0-check", "6.1.0+check")
    );
    let files: Vec<&str> = kernel
        .modules
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap())
        .collect();
    assert_eq!(files[..2], ["000-virtio_ring.ko", "001-virtio_pci.ko"]);
    // A packed one is unpacked.
    let check = files
        .iter()
        .position(|name| name.contains("check"))
        .unwrap();
    let bytes = fs::read(&kernel.modules[check]).unwrap();
    assert_eq!(bytes, sample::module(&["alias=check"]));
    assert_eq!(kernel.listed[check].size, bytes.len() as u64);
    assert_eq!(place.store.get("6.1.0-check").unwrap(), kernel);
}

#[test]
fn a_configuration_that_does_not_serve() {
    let place = Place::new();
    let folder = place.path("built");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("vmlinux"), sample::vmlinux("6.1.0-check")).unwrap();
    fs::write(folder.join("config"), "CONFIG_PCI=y\n").unwrap();
    let refused = place.store.install(&named("", &folder));
    assert!(matches!(refused, Err(Error::Lacking(missing)) if !missing.is_empty()));
    assert_eq!(place.files(), Vec::<String>::new());
}

#[test]
fn nothing_is_left_of_what_failed_or_died() {
    let place = Place::new();
    let path = place.given(b"nonsense");
    assert!(place.store.install(&named("x", &path)).is_err());
    assert!(place.files().is_empty());
    place.install("kept");
    let taken = place.given(&sample::vmlinux("6.1.0-check"));
    assert!(matches!(
        place.store.install(&named("kept", &taken)),
        Err(Error::AlreadyExists(_))
    ));
    // As a killed process leaves them.
    let root = place.path("kernels");
    fs::create_dir_all(root.join(".new-1-1/modules")).unwrap();
    fs::create_dir(root.join(".gone-1-2")).unwrap();
    fs::write(root.join(".new-default"), "x").unwrap();
    fs::create_dir(root.join(".initrds")).unwrap();
    fs::write(root.join(".initrds/.new-x"), "x").unwrap();
    KernelStore::open(&root).unwrap();
    assert_eq!(place.files(), [".initrds", "default", "kept"]);
    assert_eq!(fs::read_dir(root.join(".initrds")).unwrap().count(), 0);
}

#[test]
fn a_damaged_one_is_told_and_can_be_removed() {
    let place = Place::new();
    let record = place.path("kernels/x/kernel.json");
    for damage in ["{", "{\"version\":1}", ""] {
        place.install("x");
        fs::write(&record, damage).unwrap();
        assert!(matches!(place.store.get("x"), Err(Error::Damaged { .. })));
        assert!(place.store.list().is_err());
        place.store.remove("x").unwrap();
    }
    place.install("x");
    let text = fs::read_to_string(&record).unwrap();
    let outside = r#""modules": [{"name": "../../x", "size": 1, "digest": ""}]"#;
    fs::write(&record, text.replace("\"modules\": []", outside)).unwrap();
    assert!(matches!(place.store.get("x"), Err(Error::Damaged { .. })));
    fs::remove_file(&record).unwrap();
    assert!(matches!(place.store.get("x"), Err(Error::Damaged { .. })));
    place.store.remove("x").unwrap();
    assert!(matches!(place.store.get("x"), Err(Error::NotFound(_))));
    assert!(matches!(place.store.get("../x"), Err(Error::NotFound(_))));
}

#[test]
fn one_initial_ram_disk_for_each_init_and_modules() {
    let place = Place::new();
    let kernel = place.install("x");
    let init = place.path("init");
    fs::write(&init, sample::init()).unwrap();
    let disk = place.store.initrd_for(&kernel, &init).unwrap();
    let written = disk.metadata().unwrap().modified().unwrap();
    assert_eq!(place.store.initrd_for(&kernel, &init).unwrap(), disk);
    assert_eq!(disk.metadata().unwrap().modified().unwrap(), written);
    let path = place.given(&sample::whole_package("6.1.0-check"));
    let with_modules = place.store.install(&named("y", &path)).unwrap();
    let other = place.store.initrd_for(&with_modules, &init).unwrap();
    assert_ne!(other, disk);
    for number in 0..10 {
        let program = sample::program(1, &[], &number.to_string());
        fs::write(place.path("next"), program).unwrap();
        fs::rename(place.path("next"), &init).unwrap();
        assert!(place.store.initrd_for(&kernel, &init).unwrap().exists());
    }
    let kept = fs::read_dir(disk.parent().unwrap()).unwrap().count();
    assert_eq!(kept, 8);
    // One that was forgotten is made again.
    fs::write(&init, sample::init()).unwrap();
    assert_eq!(place.store.initrd_for(&kernel, &init).unwrap(), disk);
    assert!(disk.exists());
}

#[test]
fn only_regular_files() {
    let place = Place::new();
    let pipe = place.path("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    for path in [pipe, "/dev/zero".into(), place.path("nowhere")] {
        assert!(matches!(Source::detect(&path), Err(Error::Source { .. })));
        for source in [
            Source::File(path.clone()),
            Source::Package(path.clone()),
            Source::Built(path),
        ] {
            let install = Install {
                name: None,
                source,
                modules: Vec::new(),
            };
            let refused = place.store.install(&install);
            assert!(matches!(refused, Err(Error::Source { .. })), "{refused:?}");
        }
    }
    assert_eq!(place.files(), Vec::<String>::new());
}

#[test]
fn many_at_once_under_one_name() {
    let place = Place::new();
    let path = place.given(&sample::vmlinux("6.1.0-check"));
    let made = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| place.store.install(&named("x", &path)).is_ok()))
            .collect();
        let results = threads.into_iter().map(|thread| thread.join().unwrap());
        results.filter(|made| *made).count()
    });
    assert_eq!(made, 1);
    assert_eq!(place.files(), ["default", "x"]);
}
