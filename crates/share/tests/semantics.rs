//! What a local file system promises, on a share.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use common::{Share, able, fresh, own_mounts, sh};
use coracle_share::ServeOptions;

/// `mode uid gid` as seen on a path.
fn owner(path: &Path) -> (u32, u32, u32) {
    let stat = fs::symlink_metadata(path).unwrap();
    (stat.mode() & 0o7777, stat.uid(), stat.gid())
}

#[test]
fn what_is_made_belongs_to_who_makes_it() {
    if !able() {
        return;
    }
    let (_source, share) = fresh();
    fs::set_permissions(&share.target, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(
        share.target.parent().unwrap(),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let as_user = "setpriv --reuid 1234 --regid 2345 --clear-groups bash -euc";
    sh(
        &share.target,
        &format!(
            "{as_user} 'umask 027; touch f; mkdir d; ln -s f l; mkfifo p; umask 0; touch g
              touch d/in; echo x > d/over; ! chown 0 f; chmod 4711 g'
             {as_user} '! touch /proc/none' 2>/dev/null; touch root"
        ),
    );
    for side in [&share.target, &share.source] {
        assert_eq!(owner(&side.join("f")), (0o640, 1234, 2345));
        assert_eq!(owner(&side.join("d")), (0o750, 1234, 2345));
        assert_eq!(owner(&side.join("l")), (0o777, 1234, 2345));
        assert_eq!(owner(&side.join("p")), (0o640, 1234, 2345));
        assert_eq!(owner(&side.join("g")), (0o4711, 1234, 2345));
        assert_eq!(owner(&side.join("d/in")), (0o666, 1234, 2345));
        assert_eq!(owner(&side.join("root")).1, 0);
    }
    // Directories with set-group-id hand their group down.
    sh(
        &share.target,
        "mkdir s; chgrp 77 s; chmod 2777 s; mkdir s/a; touch s/b",
    );
    sh(&share.target, &format!("{as_user} 'mkdir s/c; touch s/e'"));
    assert_eq!(owner(&share.on_host("s/a")), (0o2755, 0, 77));
    assert_eq!(owner(&share.on_host("s/b")), (0o644, 0, 77));
    assert_eq!(owner(&share.on_host("s/c")), (0o2755, 1234, 77));
    assert_eq!(owner(&share.on_host("s/e")), (0o644, 1234, 77));
    // A directory of another's is closed, and the sticky bit holds.
    sh(
        &share.target,
        &format!(
            "mkdir -m 755 mine; mkdir -m 1777 sticky; touch sticky/f
             {as_user} '! touch mine/x; ! rm -f sticky/f; ! mv sticky/f sticky/g' 2>/dev/null"
        ),
    );
    share.end();
}

#[test]
fn set_ids_go_when_another_writes() {
    if !able() {
        return;
    }
    let (_source, share) = fresh();
    fs::set_permissions(&share.target, fs::Permissions::from_mode(0o777)).unwrap();
    fs::set_permissions(
        share.target.parent().unwrap(),
        fs::Permissions::from_mode(0o755),
    )
    .unwrap();
    let as_user = "setpriv --reuid 1234 --regid 2345 --clear-groups bash -euc";
    for (name, write) in [
        ("append", "echo x >> append"),
        ("trunc", "echo > trunc"),
        ("truncate", "truncate -s 1 truncate"),
        ("falloc", "fallocate -l 100 falloc"),
    ] {
        sh(
            &share.target,
            &format!("echo old > {name}; chmod 6777 {name}"),
        );
        sh(&share.target, &format!("{as_user} '{write}'"));
        assert_eq!(owner(&share.on_host(name)).0, 0o777, "{name}");
        assert_eq!(owner(&share.at(name)).0, 0o777, "{name}");
        // Root keeps them.
        sh(&share.target, &format!("chmod 6777 {name}; {write}"));
        assert_eq!(owner(&share.on_host(name)).0, 0o6777, "{name} by root");
        sh(&share.target, &format!("chown 5:5 {name}"));
        assert_eq!(
            owner(&share.on_host(name)),
            (0o777, 5, 5),
            "{name} by chown"
        );
    }
    if Path::new("/usr/sbin/setcap").exists() {
        sh(
            &share.target,
            "cp /bin/true c; setcap cap_net_raw+ep c; getcap c | grep -q cap_net_raw
             echo >> c; test -z \"$(getcap c)\"",
        );
    }
    share.end();
}

#[test]
fn what_the_host_changes_is_seen() {
    if !able() {
        return;
    }
    let (_source, share) = fresh();
    for round in 0..20 {
        fs::write(
            share.on_host("f"),
            format!("{round} {}", "x".repeat(round * 300)),
        )
        .unwrap();
        let seen = fs::read_to_string(share.at("f")).unwrap();
        assert_eq!(seen, format!("{round} {}", "x".repeat(round * 300)));
        assert_eq!(
            fs::metadata(share.at("f")).unwrap().len() as usize,
            seen.len()
        );
    }
    // An open file: overwritten in place, then longer.
    let mut open = File::open(share.at("f")).unwrap();
    let mut text = String::new();
    open.read_to_string(&mut text).unwrap();
    fs::write(share.on_host("f"), "short").unwrap();
    text.clear();
    open.seek(SeekFrom::Start(0)).unwrap();
    open.read_to_string(&mut text).unwrap();
    assert_eq!(text, "short");
    drop(open);
    // Replaced, removed, made a directory.
    fs::write(share.on_host("g"), "new").unwrap();
    fs::rename(share.on_host("g"), share.on_host("f")).unwrap();
    assert_eq!(fs::read_to_string(share.at("f")).unwrap(), "new");
    fs::remove_file(share.on_host("f")).unwrap();
    assert!(!share.at("f").exists());
    fs::create_dir_all(share.on_host("f/a/b")).unwrap();
    fs::write(share.on_host("f/a/b/c"), "deep").unwrap();
    assert_eq!(fs::read_to_string(share.at("f/a/b/c")).unwrap(), "deep");
    fs::rename(share.on_host("f/a"), share.on_host("moved")).unwrap();
    assert_eq!(fs::read_to_string(share.at("moved/b/c")).unwrap(), "deep");
    assert!(fs::read(share.at("f/a/b/c")).is_err());
    share.end();
}

#[test]
fn files_are_kept_in_the_cache_while_nobody_changes_them() {
    if !able() {
        return;
    }
    let (_source, share) = fresh();
    fs::write(share.on_host("f"), "one").unwrap();
    sh(&share.source, "touch -d '1 hour ago' f");
    std::thread::sleep(std::time::Duration::from_secs(4));
    for _ in 0..3 {
        assert_eq!(fs::read_to_string(share.at("f")).unwrap(), "one");
    }
    // The same size and modification: the change itself has a time.
    fs::write(share.on_host("f"), "two").unwrap();
    sh(&share.source, "touch -d '1 hour ago' f");
    assert_eq!(fs::read_to_string(share.at("f")).unwrap(), "two");
    share.end();
}

#[test]
fn removed_files_live_while_they_are_used() {
    if !able() {
        return;
    }
    let (_source, share) = fresh();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(share.at("f"))
        .unwrap();
    file.write_all(b"before").unwrap();
    fs::remove_file(share.at("f")).unwrap();
    file.write_all(b" after").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "before after");
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    file.set_permissions(fs::Permissions::from_mode(0o600))
        .unwrap();
    file.set_len(3).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 3);
    // A directory that a process is in; one whose file was replaced; only a path is held.
    sh(
        &share.target,
        "mkdir d; cd d; rmdir ../d; stat . > /dev/null; ! touch x 2>/dev/null",
    );
    fs::write(share.at("a"), "old").unwrap();
    let path = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_PATH)
        .open(share.at("a"))
        .unwrap();
    fs::write(share.at("b"), "newer").unwrap();
    fs::rename(share.at("b"), share.at("a")).unwrap();
    assert_eq!(path.metadata().unwrap().len(), 3);
    assert_eq!(fs::read_to_string(share.at("a")).unwrap(), "newer");
    drop((file, path));
    share.end();
}

#[test]
fn renames_do_as_asked() {
    if !able() {
        return;
    }
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let (_source, share) = fresh();
    fs::write(share.at("a"), "a").unwrap();
    fs::write(share.at("b"), "b").unwrap();
    let rename = |flags| renameat_with(CWD, share.at("a"), CWD, share.at("b"), flags);
    assert_eq!(
        rename(RenameFlags::NOREPLACE),
        Err(rustix::io::Errno::EXIST)
    );
    rename(RenameFlags::EXCHANGE).unwrap();
    assert_eq!(fs::read_to_string(share.at("a")).unwrap(), "b");
    assert_eq!(fs::read_to_string(share.on_host("b")).unwrap(), "a");
    rename(RenameFlags::empty()).unwrap();
    assert!(!share.at("a").exists());
    assert_eq!(fs::read_to_string(share.on_host("b")).unwrap(), "b");
    // A directory that is in use moves with what is in it.
    sh(
        &share.target,
        "mkdir -p d/e; echo 1 > d/e/f; cd d/e; mv ../../d ../../x; cat f; touch g",
    );
    assert!(share.on_host("x/e/g").exists());
    let full = fs::create_dir(share.at("full")).and_then(|()| File::create(share.at("full/f")));
    drop(full.unwrap());
    assert_eq!(
        fs::remove_dir(share.at("full")).unwrap_err().raw_os_error(),
        Some(libc::ENOTEMPTY)
    );
    let into_itself = fs::rename(share.at("full"), share.at("full/in"));
    assert_eq!(into_itself.unwrap_err().raw_os_error(), Some(libc::EINVAL));
    share.end();
}

#[test]
fn files_without_a_name_get_one() {
    if !able() {
        return;
    }
    let (_source, share) = fresh();
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .mode(0o640)
        .open(&share.target)
        .unwrap();
    file.write_all(b"nameless").unwrap();
    let through = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    let follow = rustix::fs::AtFlags::SYMLINK_FOLLOW;
    rustix::fs::linkat(
        rustix::fs::CWD,
        through,
        rustix::fs::CWD,
        share.at("named"),
        follow,
    )
    .unwrap();
    assert_eq!(
        fs::read_to_string(share.on_host("named")).unwrap(),
        "nameless"
    );
    assert_eq!(owner(&share.at("named")).0, 0o640);
    drop(file);
    share.end();
}

#[test]
fn appending_is_at_the_end_whoever_writes() {
    if !able() {
        return;
    }
    let (_source, share) = fresh();
    let append = |path| {
        OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .unwrap()
    };
    let (mut guest, mut host) = (append(share.at("f")), append(share.on_host("f")));
    for i in 0..50 {
        writeln!(guest, "guest {i}").unwrap();
        writeln!(host, "host {i}").unwrap();
    }
    let text = fs::read_to_string(share.on_host("f")).unwrap();
    let expected: String = (0..50).map(|i| format!("guest {i}\nhost {i}\n")).collect();
    assert_eq!(text, expected);
    assert_eq!(fs::read_to_string(share.at("f")).unwrap(), expected);
    // Appending can be turned off and on while the file is open.
    use rustix::fs::{OFlags, fcntl_setfl};
    fcntl_setfl(&guest, OFlags::empty()).unwrap();
    guest.write_all_at(b"XXXXX", 0).unwrap();
    assert!(
        fs::read_to_string(share.on_host("f"))
            .unwrap()
            .starts_with("XXXXX 0\n")
    );
    let mut plain = OpenOptions::new().write(true).open(share.at("f")).unwrap();
    fcntl_setfl(&plain, OFlags::APPEND).unwrap();
    plain.write_all(b"last").unwrap();
    assert!(
        fs::read_to_string(share.on_host("f"))
            .unwrap()
            .ends_with("host 49\nlast")
    );
    drop((guest, host, plain));
    share.end();
}

#[test]
fn attributes_and_extended_ones() {
    if !able() {
        return;
    }
    use rustix::fs::{XattrFlags, getxattr, listxattr, removexattr, setxattr};
    use rustix::io::Errno;
    let (_source, share) = fresh();
    let file = share.at("f");
    fs::write(&file, "x").unwrap();
    let mut buffer = [0; 100];
    let supported = setxattr(&file, "user.a", b"value", XattrFlags::CREATE);
    if supported != Err(Errno::OPNOTSUPP) {
        supported.unwrap();
        assert_eq!(
            setxattr(&file, "user.a", b"v", XattrFlags::CREATE),
            Err(Errno::EXIST)
        );
        assert_eq!(
            setxattr(&file, "user.b", b"v", XattrFlags::REPLACE),
            Err(Errno::NODATA)
        );
        assert_eq!(
            getxattr(share.on_host("f"), "user.a", &mut buffer[..]),
            Ok(5)
        );
        assert_eq!(
            getxattr(&file, "user.a", &mut buffer[..2]),
            Err(Errno::RANGE)
        );
        assert_eq!(rustix::fs::getxattr_query(&file, "user.a"), Ok(5));
        assert_eq!(listxattr(&file, &mut buffer[..]), Ok(7));
        assert_eq!(rustix::fs::listxattr_query(&file), Ok(7));
        removexattr(&file, "user.a").unwrap();
        assert_eq!(
            getxattr(&file, "user.a", &mut buffer[..]),
            Err(Errno::NODATA)
        );
        assert_eq!(listxattr(&file, &mut buffer[..]), Ok(0));
    }
    // What means something to the host is not for the guest.
    for name in ["trusted.overlay.opaque", "security.selinux", "security.ima"] {
        let set = setxattr(&file, name, b"y", XattrFlags::empty());
        assert_eq!(set, Err(Errno::OPNOTSUPP), "{name}");
    }
    setxattr(
        share.on_host("f"),
        "trusted.secret",
        b"y",
        XattrFlags::empty(),
    )
    .unwrap();
    assert_eq!(listxattr(&file, &mut buffer[..]), Ok(0));
    assert_eq!(
        getxattr(&file, "trusted.secret", &mut buffer[..]),
        Err(Errno::OPNOTSUPP)
    );
    let stat = rustix::fs::statvfs(&share.target).unwrap();
    let host = rustix::fs::statvfs(&share.source).unwrap();
    assert_eq!((stat.f_blocks, stat.f_bsize), (host.f_blocks, host.f_bsize));
    let inode = |path| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(&file), inode(&share.on_host("f")));
    let born = |path| fs::metadata(path).unwrap().created().ok();
    if let Some(time) = born(&file) {
        assert_eq!(Some(time), born(&share.on_host("f")));
    }
    share.end();
}

#[test]
fn links_stay_in_the_guests_own_view() {
    if !able() {
        return;
    }
    let (_source, share) = fresh();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "host").unwrap();
    std::os::unix::fs::symlink(outside.path(), share.on_host("out")).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", share.on_host("etc")).unwrap();
    assert_eq!(fs::read_link(share.at("out")).unwrap(), outside.path());
    assert_eq!(
        fs::symlink_metadata(share.at("out")).unwrap().len() as usize,
        outside.path().as_os_str().len()
    );
    // What follows is this side's kernel: hide the directory and nothing is found.
    rustix::mount::mount(
        "none",
        outside.path(),
        "tmpfs",
        rustix::mount::MountFlags::empty(),
        None,
    )
    .unwrap();
    assert!(fs::read(share.at("out/secret")).is_err());
    fs::write(share.at("out/mine"), "guest").unwrap();
    rustix::mount::unmount(outside.path(), rustix::mount::UnmountFlags::empty()).unwrap();
    assert!(!outside.path().join("mine").exists());
    // A link that takes the place of a directory in use isn't followed.
    fs::create_dir(share.on_host("d")).unwrap();
    fs::write(share.on_host("d/f"), "inside").unwrap();
    assert!(share.at("d/f").exists());
    fs::remove_dir_all(share.on_host("d")).unwrap();
    std::os::unix::fs::symlink(outside.path(), share.on_host("d")).unwrap();
    assert!(fs::read_link(share.at("d")).is_ok());
    share.end();
}

#[test]
fn special_files_are_the_guests() {
    if !able() {
        return;
    }
    let (_source, share) = fresh();
    sh(
        &share.target,
        "mkfifo p; (echo through > p &) ; test $(cat p) = through
         mknod n c 1 3; echo gone > n; test ! -s n; mknod z c 1 5; test $(head -c 5 z | wc -c) = 5",
    );
    let socket = std::os::unix::net::UnixListener::bind(share.at("s")).unwrap();
    let client = std::os::unix::net::UnixStream::connect(share.at("s")).unwrap();
    drop((socket, client));
    use std::os::unix::fs::FileTypeExt as _;
    assert!(
        fs::symlink_metadata(share.on_host("s"))
            .unwrap()
            .file_type()
            .is_socket()
    );
    assert_eq!(
        fs::metadata(share.on_host("z")).unwrap().rdev(),
        libc::makedev(1, 5)
    );
    share.end();
}

#[test]
fn memory_maps() {
    if !able() {
        return;
    }
    let (_source, share) = fresh();
    // A database with shared memory, locks, and a write-ahead log.
    let script = "sqlite3 db 'pragma journal_mode=wal; create table t(x); insert into t values(1);'
        for i in 1 2 3 4; do
          (for j in $(seq 10); do sqlite3 -cmd '.timeout 20000' db \"insert into t values($i)\"; done) &
        done; wait; sqlite3 db 'select count(*) from t; pragma integrity_check'";
    if Path::new("/usr/bin/sqlite3").exists() {
        assert_eq!(sh(&share.target, script), "wal\n41\nok\n");
    }
    let script = "import mmap
with open('m', 'wb') as f: f.write(b'a' * 10000)
with open('m', 'r+b') as f:
    m = mmap.mmap(f.fileno(), 0); m[5000:5005] = b'hello'; m.flush(); m.close()
with open('m', 'rb') as f: assert f.read()[5000:5005] == b'hello'
";
    if Path::new("/usr/bin/python3").exists() {
        fs::write(share.at("m.py"), script).unwrap();
        sh(&share.target, "/usr/bin/python3 m.py");
        assert_eq!(
            &fs::read(share.on_host("m")).unwrap()[4999..5006],
            b"ahelloa"
        );
    }
    sh(
        &share.target,
        "cp /bin/true t; ./t; cp /bin/false t 2>/dev/null; ! ./t",
    );
    share.end();
}

#[test]
fn mounts_below_are_part_of_a_recursive_share_only() {
    if !able() {
        return;
    }
    own_mounts();
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("m")).unwrap();
    fs::write(source.path().join("m/under"), "").unwrap();
    let none = rustix::mount::MountFlags::empty();
    rustix::mount::mount("none", source.path().join("m"), "tmpfs", none, None).unwrap();
    fs::write(source.path().join("m/over"), "").unwrap();
    for recursive in [false, true] {
        let mut options = ServeOptions::default();
        options.recursive = recursive;
        let share = Share::new(source.path(), options);
        assert_eq!(share.at("m/under").exists(), !recursive);
        assert_eq!(share.at("m/over").exists(), recursive);
        if recursive {
            let inode = |name: &str| fs::metadata(share.at(name)).unwrap().ino();
            assert_ne!(inode("m/over") >> 48, 0);
            sh(
                &share.target,
                "echo x > m/f; mv m/f m/g; test $(cat m/g) = x",
            );
            let across = fs::hard_link(share.at("m/g"), share.at("h"));
            assert_eq!(across.unwrap_err().raw_os_error(), Some(libc::EXDEV));
            sh(&share.target, "mv m/g g");
        }
        share.end();
    }
    let flags = rustix::mount::UnmountFlags::empty();
    rustix::mount::unmount(source.path().join("m"), flags).unwrap();
}

#[test]
fn access_lists_hold() {
    if !able() {
        return;
    }
    own_mounts();
    let source = tempfile::tempdir().unwrap();
    let mut options = ServeOptions::default();
    options.acl = true;
    let share = Share::new(source.path(), options);
    for directory in [share.target.as_path(), share.target.parent().unwrap()] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(share.at("f"), "for one user").unwrap();
    fs::set_permissions(share.at("f"), fs::Permissions::from_mode(0o600)).unwrap();
    // user::rw-, user:1234:r--, group::---, mask::r--, other::---
    let entries: [(u16, u16, u32); 5] = [
        (1, 6, !0),
        (2, 4, 1234),
        (4, 0, !0),
        (0x10, 4, !0),
        (0x20, 0, !0),
    ];
    let mut list = 2u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(share.at("f"), "system.posix_acl_access", &list, flags).unwrap();
    sh(
        &share.target,
        "setpriv --reuid 1234 --regid 9 --clear-groups cat f",
    );
    sh(
        &share.target,
        "! setpriv --reuid 1235 --regid 9 --clear-groups cat f 2>/dev/null",
    );
    share.end();
}
