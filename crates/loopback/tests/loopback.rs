//! With real devices: as root, where the kernel has them.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coracle_disk::{Ext4Options, format_ext4};
use coracle_loopback::{is_mounted, mount, unmount};

/// A directory with an image and places to mount it at, unmounted in the end.
struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can mount");
            return None;
        }
        if let Err(error) = coracle_loopback::check() {
            eprintln!("skipped: {error}");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        for name in ["one", "two"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let fixture = Self { dir };
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(fixture.image())
            .unwrap();
        format_ext4(&file, 64 << 20, &Ext4Options::default()).unwrap();
        Some(fixture)
    }

    fn image(&self) -> PathBuf {
        self.dir.path().join("image")
    }

    fn place(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn mount(&self, name: &str) {
        mount(&self.image(), "ext4", &self.place(name), c"discard").unwrap();
    }

    /// Devices with our image: of the kernel's list, which knows it by its path.
    fn devices(&self) -> usize {
        let image = self.image().display().to_string();
        let names = fs::read_dir("/sys/block").unwrap().flatten();
        names
            .filter_map(|entry| fs::read_to_string(entry.path().join("loop/backing_file")).ok())
            .filter(|path| path.starts_with(&image))
            .count()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        for name in ["one", "two"] {
            while unmount(&self.place(name)).unwrap_or_default() {}
        }
    }
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "not in time: {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn one_device_however_often_it_is_mounted() {
    let Some(f) = Fixture::new() else { return };
    assert!(!is_mounted(&f.image(), &f.place("one")).unwrap());
    f.mount("one");
    f.mount("one");
    f.mount("two");
    assert_eq!(f.devices(), 1);
    fs::write(f.place("one").join("file"), "shared").unwrap();
    assert_eq!(
        fs::read_to_string(f.place("two").join("file")).unwrap(),
        "shared"
    );
    assert!(is_mounted(&f.image(), &f.place("one")).unwrap());
    // One mount at each place: what is there already is not mounted over.
    assert!(unmount(&f.place("one")).unwrap());
    assert!(!unmount(&f.place("one")).unwrap());
    assert!(!is_mounted(&f.image(), &f.place("one")).unwrap());
    assert_eq!(f.devices(), 1, "while one is left");
    // What is open keeps it.
    let open = File::open(f.place("two").join("file")).unwrap();
    unmount(&f.place("two")).unwrap();
    assert_eq!(f.devices(), 1);
    f.mount("one");
    assert_eq!(
        fs::read_to_string(f.place("one").join("file")).unwrap(),
        "shared"
    );
    unmount(&f.place("one")).unwrap();
    drop(open);
    wait_until("the device is free", || f.devices() == 0);
}

#[test]
fn what_is_deleted_goes_back_to_the_host() {
    let Some(f) = Fixture::new() else { return };
    let blocks = || fs::metadata(f.image()).unwrap().blocks();
    f.mount("one");
    let file = f.place("one").join("large");
    let before = blocks();
    let written = File::create(&file).unwrap();
    std::io::Write::write_all(&mut &written, &vec![7; 16 << 20]).unwrap();
    written.sync_all().unwrap();
    drop(written);
    assert!(blocks() >= before + (16 << 20) / 512);
    fs::remove_file(&file).unwrap();
    rustix::fs::sync();
    wait_until("the image is smaller", || {
        blocks() < before + (4 << 20) / 512
    });
}

#[test]
fn another_mount_is_left_alone() {
    let Some(f) = Fixture::new() else { return };
    let place = f.place("one");
    let flags = rustix::mount::MountFlags::empty();
    rustix::mount::mount(c"none", &place, c"tmpfs", flags, None).unwrap();
    let error = mount(&f.image(), "ext4", &place, c"")
        .unwrap_err()
        .to_string();
    assert!(error.contains("something else is mounted"), "{error}");
    assert!(!is_mounted(&f.image(), &place).unwrap());
    wait_until("the device is free", || f.devices() == 0);
    let error = mount(Path::new("/nowhere"), "ext4", &place, c"").unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot open /nowhere: No such file or directory (os error 2)"
    );
}
