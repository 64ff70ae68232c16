//! The empty ext4, by its own tools and the kernel.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use coracle_disk::{Error, Ext4Options, MAX_EXT4, MIN_EXT4, ext4_for, format_ext4};

use crate::mounts::{Mounted, root, run, set_xattr, sync};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

fn options() -> Ext4Options {
    Ext4Options {
        uuid: *b"0123456789abcdef",
        ..Ext4Options::default()
    }
}

fn make(path: &Path, bytes: u64, options: &Ext4Options) -> u64 {
    let file = File::create(path).unwrap();
    format_ext4(&file, bytes, options).unwrap();
    let meta = file.metadata().unwrap();
    assert_eq!(meta.len(), bytes);
    meta.blocks() * 512
}

fn check(path: &Path) {
    let (good, text) = run("e2fsck", &["-fn", path.to_str().unwrap()]);
    assert!(good, "{text}");
    let complaints = text.lines().filter(|line| {
        !line.starts_with("Pass ") && !line.starts_with("e2fsck ") && !line.contains(" files (")
    });
    assert_eq!(complaints.collect::<Vec<_>>(), Vec::<&str>::new());
}

#[test]
fn of_all_sizes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    let group = 128 * MIB;
    for bytes in [
        MIN_EXT4,
        MIN_EXT4 + 4095,
        64 * MIB,
        64 * MIB + 4095,
        100 * MIB + 12_288,
        group - 4096,
        group,
        group + 4096,
        group + 300 * 1024,
        2 * group + 4096,
        16 * group - 4096,
        16 * group,
        16 * group + MIB,
        16 * group + 3 * MIB,
        8 * GIB,
        100 * GIB,
        100 * GIB + 50 * MIB,
        GIB << 10,
    ] {
        let real = make(&path, bytes, &options());
        assert!(real < 64 << 10 | (bytes >> 17), "{real} for {bytes}");
        check(&path);
    }
    make(
        &path,
        GIB,
        &Ext4Options {
            journal: None,
            ..options()
        },
    );
    check(&path);
    let journal = Some(64 * MIB);
    make(
        &path,
        GIB,
        &Ext4Options {
            journal,
            ..options()
        },
    );
    check(&path);
}

#[test]
#[ignore = "the file system's check takes minutes and gigabytes of memory"]
fn the_largest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    // Where the image is on ext4 itself a file can't have the last block.
    make(&path, MAX_EXT4 - MIB, &options());
    check(&path);
}

#[test]
fn refused() {
    let file = tempfile::tempfile().unwrap();
    for bytes in [0, MIN_EXT4 - 1, MAX_EXT4 + 1, u64::MAX] {
        let error = format_ext4(&file, bytes, &options()).unwrap_err();
        assert!(matches!(error, Error::Size { .. }));
    }
    for journal in [0, 4096, 4 * MIB + 1, 20 * MIB, u64::MAX] {
        let options = Ext4Options {
            journal: Some(journal),
            ..options()
        };
        let error = format_ext4(&file, MIN_EXT4, &options).unwrap_err();
        assert!(matches!(error, Error::Journal { .. }));
    }
}

#[test]
fn the_same_bytes_and_the_copy() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("1"), dir.path().join("2"));
    fs::write(&two, vec![0xff; 1 << 20]).unwrap();
    make(&one, 300 * MIB, &options());
    let file = OpenOptions::new().write(true).open(&two).unwrap();
    format_ext4(&file, 300 * MIB, &options()).unwrap();
    assert!(fs::read(&one).unwrap() == fs::read(&two).unwrap());
    // The second group's superblock serves where the first one is lost.
    let (good, text) = run("e2fsck", &["-fn", "-b", "32768", one.to_str().unwrap()]);
    assert!(text.contains("10/24576 files"), "{good} {text}");
    let (good, text) = run("debugfs", &["-R", "stat <8>", one.to_str().unwrap()]);
    assert!(good && text.contains("Size: 4194304"), "{text}");
    let (good, text) = run("debugfs", &["-R", "ls -l /", one.to_str().unwrap()]);
    assert!(good && text.contains("40755"), "{text}");
    let (good, text) = run("dumpe2fs", &["-h", one.to_str().unwrap()]);
    assert!(
        good && text.contains("30313233-3435-3637-3839-616263646566"),
        "{text}"
    );
}

#[test]
fn the_kernel_writes_to_it() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    for (bytes, journal) in [
        (64 * MIB, Some(4 * MIB)),
        (8 * GIB, Some(4 * MIB)),
        (3 * GIB, None),
    ] {
        make(
            &path,
            bytes,
            &Ext4Options {
                journal,
                ..options()
            },
        );
        {
            let mounted = Mounted::image(&path, "ext4", true);
            let root = fs::metadata(mounted.path()).unwrap();
            assert_eq!(
                (root.mode() & 0o7777, root.uid(), root.nlink()),
                (0o755, 0, 2)
            );
            assert_eq!(fs::read_dir(mounted.path()).unwrap().count(), 0);
            let stat = rustix::fs::statvfs(mounted.path()).unwrap();
            let overhead = bytes - stat.f_blocks * stat.f_frsize;
            assert!(overhead < bytes / 50 + 10 * MIB, "{overhead}");
            fs::create_dir_all(mounted.at("a/b/c")).unwrap();
            for n in 0..2000 {
                fs::write(mounted.at(&format!("a/b/{n}")), vec![n as u8; n * 5]).unwrap();
            }
            set_xattr(&mounted.at("a"), "trusted.overlay.opaque", b"y");
            fs::write(mounted.at("big"), vec![7; 20 << 20]).unwrap();
            fs::remove_dir_all(mounted.at("a/b/c")).unwrap();
            sync(&mounted.path());
        }
        settled(&path);
        check(&path);
    }
}

#[test]
fn files_find_the_room_that_is_asked_for() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    for (room, journal) in [
        (MIB, 4 * MIB),
        (10 * MIB, 4 * MIB),
        (123 * MIB + 1, 4 * MIB),
        (GIB, 16 * MIB),
        (300 * GIB, 64 * MIB),
    ] {
        let bytes = ext4_for(room, Some(journal));
        let journal = Some(journal);
        make(
            &path,
            bytes,
            &Ext4Options {
                journal,
                ..options()
            },
        );
        {
            let mounted = Mounted::image(&path, "ext4", true);
            let stat = rustix::fs::statvfs(mounted.path()).unwrap();
            let there = stat.f_bavail * stat.f_frsize;
            assert!((room..room + MIB).contains(&there), "{there} for {room}");
        }
        settled(&path);
        check(&path);
    }
}

#[test]
fn it_grows_while_mounted() {
    if !root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk");
    for (bytes, then) in [
        (64 * MIB, GIB),
        (300 * MIB, 5 * GIB + 7 * MIB),
        (8 * GIB, 100 * GIB),
        (8 * GIB, 1100 * GIB),
    ] {
        make(&path, bytes, &options());
        {
            let mounted = Mounted::image(&path, "ext4", true);
            fs::write(mounted.at("before"), vec![1; 1 << 20]).unwrap();
            let device = mounted.device.clone().unwrap();
            let device = device.to_str().unwrap();
            OpenOptions::new()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(then)
                .unwrap();
            assert!(run("losetup", &["--set-capacity", device]).0);
            if !grow(&mounted, then / 4096) {
                println!("skipped: needs CAP_SYS_RESOURCE");
                return;
            }
            let stat = rustix::fs::statvfs(mounted.path()).unwrap();
            assert!(
                stat.f_blocks * stat.f_frsize > then / 100 * 97,
                "{}",
                stat.f_blocks
            );
            for n in 0..200 {
                fs::create_dir(mounted.at(&format!("d{n}"))).unwrap();
                fs::write(mounted.at(&format!("d{n}/file")), vec![n; 100_000]).unwrap();
            }
            assert_eq!(fs::read(mounted.at("before")).unwrap(), vec![1; 1 << 20]);
            sync(&mounted.path());
        }
        settled(&path);
        check(&path);
    }
}

/// What `resize2fs` does to a mounted file system. False where that isn't allowed.
fn grow(mounted: &Mounted, blocks: u64) -> bool {
    use std::os::fd::AsRawFd;
    let root = File::open(mounted.path()).unwrap();
    // It wants to find the mount by its device: here it isn't attached anywhere.
    let script = "import fcntl,struct,sys; fcntl.ioctl(int(sys.argv[1]), 0x40086610, struct.pack('Q', int(sys.argv[2])))";
    let inherited = rustix::io::dup(&root).unwrap();
    rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
    let (good, text) = run(
        "python3",
        &[
            "-c",
            script,
            &inherited.as_raw_fd().to_string(),
            &blocks.to_string(),
        ],
    );
    assert!(good || text.contains("PermissionError"), "{text}");
    good
}

/// Waits until the loop device is gone, after which the image is whole.
fn settled(path: &Path) {
    for _ in 0..200 {
        let (_, text) = run("losetup", &["--associated", path.to_str().unwrap()]);
        if text.trim().is_empty() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("the loop device stays");
}
