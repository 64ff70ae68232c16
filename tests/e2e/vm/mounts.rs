//! Directories, files, volumes and sockets of the host.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::time::Duration;

use coracle_tests::output::wait_for;
use coracle_tests::{Daemon, wait_until};

use super::{Guest, cases, run};

#[test]
fn mounts() {
    run(cases![
        container_mount, container_mount_read_only, container_mount_ownership,
        container_mount_both_directions, container_single_file_mount,
        container_single_file_mount_read_only, container_single_file_mount_write_back,
        container_single_file_mount_symlink, container_duplicate_virtiofs_mount,
        container_duplicate_virtiofs_mount_via_symlink, container_mount_sort_by_depth,
        container_mount_does_not_lead_out, container_volume, container_volume_shared,
        container_volume_of_options, container_volume_sized, container_volumes_from,
        unix_socket_into_guest, unix_socket_into_guest_symlink,
        unix_socket_into_guest_long_container_id, unix_socket_last_words,
    ]);
}

/// A directory with a file, for one case.
fn folder(d: &Daemon, name: &str) -> (PathBuf, String) {
    let path = d.dir().join("shared").join(name);
    fs::create_dir_all(&path).unwrap();
    fs::write(path.join("file"), "from the host\n").unwrap();
    let text = path.display().to_string();
    (path, text)
}

fn container_mount(d: &Daemon) {
    let (path, source) = folder(d, "mount");
    let script = "cat /m/file; mkdir -p /m/deep/er; echo back >/m/deep/er/x; mv /m/deep/er/x /m/y; \
                  ln -s y /m/link; cat /m/link; rm -r /m/deep; ls /m";
    assert_eq!(
        d.sh(&["-v", &format!("{source}:/m")], script),
        "from the host\nback\nfile\nlink\ny"
    );
    assert_eq!(fs::read_to_string(path.join("link")).unwrap(), "back\n");
    assert!(!path.join("deep").exists());
}

fn container_mount_read_only(d: &Daemon) {
    let (path, source) = folder(d, "ro");
    let script = "cat /m/file; touch /m/x 2>&1; echo x 2>&1 >>/m/file; true";
    let seen = d.sh(&["-v", &format!("{source}:/m:ro")], script);
    assert!(seen.starts_with("from the host\n"), "{seen}");
    assert!(seen.contains("Read-only file system"), "{seen}");
    // Nor does one who may mount.
    let flags = ["--privileged", "-v", &format!("{source}:/m:ro")];
    d.sh(&flags, "mount -o remount,rw /m; touch /m/x; true");
    assert!(!path.join("x").exists());
    let mount = format!("type=bind,source={source},target=/m,readonly");
    assert_eq!(
        d.sh(&["--mount", &mount], "touch /m/x 2>/dev/null || echo no"),
        "no"
    );
}

fn container_mount_ownership(d: &Daemon) {
    let (path, source) = folder(d, "owner");
    let bind = format!("{source}:/m");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
    d.sh(
        &["-u", "33:7", "-v", &bind],
        "echo x >/m/mine; mkdir /m/dir; chmod 640 /m/mine",
    );
    let meta = fs::metadata(path.join("mine")).unwrap();
    assert_eq!(
        (meta.uid(), meta.gid(), meta.mode() & 0o777),
        (33, 7, 0o640)
    );
    assert_eq!(fs::metadata(path.join("dir")).unwrap().uid(), 33);
    d.sh(&["-v", &bind], "chown 1000:1001 /m/mine");
    let meta = fs::metadata(path.join("mine")).unwrap();
    assert_eq!((meta.uid(), meta.gid()), (1000, 1001));
    // Another user's file is closed to it.
    fs::set_permissions(path.join("mine"), fs::Permissions::from_mode(0o600)).unwrap();
    let seen = d.sh(&["-u", "33", "-v", &bind], "cat /m/mine 2>&1; true");
    assert!(seen.contains("Permission denied"), "{seen}");
}

fn container_mount_both_directions(d: &Daemon) {
    let (path, source) = folder(d, "both");
    let guest = Guest::new(d, &["-v", &format!("{source}:/m")]);
    for round in 0..5 {
        fs::write(path.join("down"), format!("{round}")).unwrap();
        wait_until("the guest sees it", || {
            guest.exec("cat /m/down") == round.to_string()
        });
        guest.exec(&format!("echo {round} >/m/up"));
        assert_eq!(
            fs::read_to_string(path.join("up")).unwrap(),
            format!("{round}\n")
        );
    }
    fs::remove_file(path.join("file")).unwrap();
    wait_until("the guest sees that it is gone", || {
        d.docker(&["exec", &guest, "cat", "/m/file"]).code != 0
    });
}

fn container_single_file_mount(d: &Daemon) {
    let (_, source) = folder(d, "single");
    let seen = d.sh(
        &["-v", &format!("{source}/file:/etc/new/name.conf")],
        "cat /etc/new/name.conf",
    );
    assert_eq!(seen, "from the host");
    let hosts = d.sh(
        &["-v", &format!("{source}/file:/etc/hosts")],
        "cat /etc/hosts",
    );
    assert_eq!(hosts, "from the host");
}

fn container_single_file_mount_read_only(d: &Daemon) {
    let (_, source) = folder(d, "single-ro");
    let flags = ["-v", &format!("{source}/file:/f:ro")];
    let seen = d.sh(&flags, "echo x 2>/dev/null >>/f || echo refused; cat /f");
    assert!(
        seen.ends_with("from the host") && seen.contains("refused"),
        "{seen}"
    );
}

fn container_single_file_mount_write_back(d: &Daemon) {
    let (path, source) = folder(d, "single-back");
    d.sh(&["-v", &format!("{source}/file:/f")], "echo more >>/f");
    let text = fs::read_to_string(path.join("file")).unwrap();
    assert_eq!(text, "from the host\nmore\n");
}

fn container_single_file_mount_symlink(d: &Daemon) {
    let (path, source) = folder(d, "single-link");
    symlink("file", path.join("link")).unwrap();
    assert_eq!(
        d.sh(&["-v", &format!("{source}/link:/f")], "cat /f"),
        "from the host"
    );
}

fn container_duplicate_virtiofs_mount(d: &Daemon) {
    let (_, source) = folder(d, "twice");
    let flags = [
        "-v",
        &format!("{source}:/a"),
        "-v",
        &format!("{source}:/b:ro"),
    ];
    let script = "echo x >/a/new; cat /b/new; touch /b/y 2>/dev/null || echo refused";
    assert_eq!(d.sh(&flags, script), "x\nrefused");
}

fn container_duplicate_virtiofs_mount_via_symlink(d: &Daemon) {
    let (path, source) = folder(d, "twice-link");
    let link = path.with_file_name("twice-other");
    symlink(&path, &link).unwrap();
    let flags = [
        "-v",
        &format!("{source}:/a"),
        "-v",
        &format!("{}:/b", link.display()),
    ];
    assert_eq!(d.sh(&flags, "echo x >/a/new; cat /b/new"), "x");
}

fn container_mount_sort_by_depth(d: &Daemon) {
    let (_, outer) = folder(d, "outer");
    let (_, inner) = folder(d, "inner");
    fs::write(format!("{inner}/inner"), "x").unwrap();
    let flags = [
        "-v",
        &format!("{inner}:/m/sub/deep"),
        "-v",
        &format!("{outer}:/m"),
        "--tmpfs",
        "/m/sub",
    ];
    assert_eq!(
        d.sh(&flags, "ls /m /m/sub /m/sub/deep | tr '\\n' ' '"),
        "/m: file sub  /m/sub: deep  /m/sub/deep: file inner"
    );
}

/// Links in a share are the guest's business: they never lead to the host's files.
fn container_mount_does_not_lead_out(d: &Daemon) {
    let (path, source) = folder(d, "links");
    fs::write(path.with_file_name("secret"), "secret").unwrap();
    symlink("../secret", path.join("up")).unwrap();
    symlink(path.with_file_name("secret"), path.join("absolute")).unwrap();
    let flags = ["--privileged", "-v", &format!("{source}:/m")];
    let seen = d.sh(
        &flags,
        "cat /m/up /m/absolute 2>&1; ln -s /etc/shadow /m/mine; cat /m/mine | head -n 1",
    );
    assert!(!seen.contains("secret\n"), "{seen}");
    assert!(seen.ends_with("root:*:10933:0:99999:7:::"), "{seen}");
}

fn container_volume(d: &Daemon) {
    d.ok(&["volume", "create", "vm-volume"]);
    // Filled from the image, when first used.
    let seen = d.sh(
        &["-v", "vm-volume:/etc"],
        "ls -n /etc/passwd | awk '{print $3}'; echo kept >/etc/x",
    );
    assert_eq!(seen, "0");
    assert_eq!(
        d.sh(&["-v", "vm-volume:/v:ro"], "cat /v/x; head -n 1 /v/passwd"),
        "kept\nroot:x:0:0:root:/root:/bin/sh"
    );
    d.ok(&["volume", "rm", "vm-volume"]);
}

/// Options of the driver: binds, and file systems of their own.
fn container_volume_of_options(d: &Daemon) {
    let (path, _) = folder(d, "volume-options");
    std::fs::write(path.join("file"), "of the host").unwrap();
    let device = format!("device={}", path.display());
    let create = |name: &str, options: &[&str]| {
        let options = options.iter().flat_map(|option| ["-o", option]);
        let line = ["volume", "create"]
            .into_iter()
            .chain(options)
            .chain([name]);
        d.ok(&line.collect::<Vec<_>>());
    };
    create("vm-bound", &["type=none", "o=bind", &device]);
    create("vm-fixed", &["type=none", "o=bind,ro", &device]);
    let options = "o=size=1m,uid=33,mode=0750";
    create("vm-memory", &["type=tmpfs", "device=tmpfs", options]);
    let volumes = [
        "-v", "vm-bound:/bound", "-v", "vm-fixed:/fixed", "-v", "vm-memory:/memory",
    ];
    let script = "cat /fixed/file; echo; echo new >/bound/x; touch /fixed/y 2>&1; \
                  stat -c '%u %a' /memory; echo kept >/memory/file; cat /memory/file; \
                  dd if=/dev/zero of=/memory/large bs=1M count=2 2>&1 | grep -i space; true";
    let said = d.sh(&volumes, script);
    let said: Vec<_> = said.lines().collect();
    assert_eq!(said.len(), 5, "{said:?}");
    assert_eq!(said[0], "of the host");
    assert!(said[1].contains("Read-only file system"), "{said:?}");
    assert_eq!(said[2..4], ["33 750", "kept"]);
    assert!(said[4].contains("No space left on device"), "{said:?}");
    assert_eq!(std::fs::read_to_string(path.join("x")).unwrap(), "new\n");
    // With its last container the memory is gone.
    assert_eq!(d.sh(&["-v", "vm-memory:/v"], "ls /v | wc -l"), "0");
    d.ok(&["volume", "rm", "vm-bound", "vm-fixed", "vm-memory"]);
    assert!(path.join("file").exists());
}

/// Machines and a process fill one volume of a size, and make room for each other.
fn container_volume_sized(d: &Daemon) {
    d.ok(&["volume", "create", "--opt", "size=12m", "vm-sized"]);
    let flags = ["-v", "vm-sized:/v"];
    let one = Guest::new(d, &flags);
    let two = Guest::new(d, &flags);
    let process = Guest::new(d, &[&flags[..], &["--runtime", "process"]].concat());
    let all = [&one, &two, &process];
    let write = |name: &str| {
        format!(
            "dd if=/dev/zero of=/v/{name} bs=1M count=40 conv=fsync 2>&1 | grep -o 'No space left.*'; \
             stat -c %s /v/{name}"
        )
    };
    let image = d.dir().join("data/volumes/vm-sized/disk.ext4");
    let blocks = || fs::metadata(&image).unwrap().blocks() * 512;
    for writer in [&one, &process] {
        let seen = writer.exec(&write("large"));
        let (full, size) = seen.split_once('\n').unwrap();
        assert_eq!(full, "No space left on device");
        let size: u64 = size.parse().unwrap();
        assert!((11 << 20..13 << 20).contains(&size), "{size}");
        for other in all {
            let seen = other.exec(&write("more"));
            assert!(seen.starts_with("No space left on device"), "{seen}");
            assert_eq!(other.exec("stat -c %s /v/large"), size.to_string());
            other.exec("rm -f /v/more; echo >/tmp/elsewhere");
        }
        assert!(blocks() > 11 << 20);
        writer.exec("rm /v/large; sync");
    }
    wait_until("the host has its space back", || blocks() < 6 << 20);
    one.exec("mkdir /v/sub; echo kept >/v/sub/file");
    assert_eq!(process.exec("cat /v/sub/file"), "kept");
    let id = d.ok(&[&["create"], &flags[..], &["busybox", "true"]].concat());
    drop((one, two, process));
    wait_until("it is unmounted", || crate::volume_sizes::devices(d) == 0);
    let part = "type=volume,source=vm-sized,target=/p,volume-subpath=sub,readonly";
    let seen = d.sh(&["--mount", part], "cat /p/file; touch /p/x 2>&1; true");
    assert!(
        seen.starts_with("kept\n") && seen.contains("Read-only file system"),
        "{seen}"
    );
    // One that does not run.
    let copy = d.dir().join("vm-sized-copy");
    d.ok(&["cp", &format!("{id}:/v/sub/file"), copy.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&copy).unwrap(), "kept\n");
    let archive = d.dir().join("vm-sized.tar");
    d.ok(&["export", "-o", archive.to_str().unwrap(), &id]);
    d.ok(&["rm", "-f", &id]);
    d.ok(&["volume", "rm", "vm-sized"]);
    wait_until("its device is free", || {
        crate::volume_sizes::devices(d) == 0
    });
}

/// Two machines and a process on one volume.
fn container_volume_shared(d: &Daemon) {
    d.ok(&["volume", "create", "vm-shared"]);
    let flags = ["-v", "vm-shared:/v"];
    let one = Guest::new(d, &flags);
    let two = Guest::new(d, &flags);
    let process = Guest::new(d, &[&flags[..], &["--runtime", "process"]].concat());
    let all = [&one, &two, &process];
    for (number, writer) in all.iter().enumerate() {
        writer.exec(&format!(
            "echo {number} >/v/{number}; echo {number} >>/v/all"
        ));
        for reader in all {
            let mut last = String::new();
            let wanted = number.to_string();
            wait_until("the others see it", || {
                last = reader.exec(&format!("cat /v/{number}; tail -n 1 /v/all"));
                last == format!("{wanted}\n{wanted}")
            });
        }
    }
    assert_eq!(process.exec("cat /v/all"), "0\n1\n2");
    // Appends from all sides at once: none is lost.
    std::thread::scope(|scope| {
        for guest in all {
            scope.spawn(move || {
                guest.exec("for i in 0 1 2 3 4 5 6 7 8 9; do echo line >>/v/log; done")
            });
        }
    });
    assert_eq!(process.exec("wc -l </v/log"), "30");
    drop((one, two, process));
    d.ok(&["volume", "rm", "vm-shared"]);
}

fn container_volumes_from(d: &Daemon) {
    let one = Guest::new(d, &["-v", "/anonymous"]);
    one.exec("echo x >/anonymous/file");
    assert_eq!(d.sh(&["--volumes-from", &one], "cat /anonymous/file"), "x");
}

/// What a guest says to the socket: `logger` speaks to one at `/dev/log`.
#[track_caller]
fn hears(d: &Daemon, listener: &UnixListener, flags: &[&str], script: &str) {
    listener.set_nonblocking(true).unwrap();
    d.sh(flags, script);
    let mut stream = None;
    wait_for("it is connected to", Duration::from_secs(3), || {
        stream = listener.accept().ok();
        stream.is_some()
    });
    let (mut stream, _) = stream.unwrap();
    stream.set_nonblocking(false).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text);
    assert!(text.contains("words"), "{text:?}");
}

fn unix_socket_into_guest(d: &Daemon) {
    let (path, _) = folder(d, "socket");
    let socket = path.join("socket");
    let listener = UnixListener::bind(&socket).unwrap();
    let bind = format!("{}:/dev/log", socket.display());
    hears(d, &listener, &["-v", &bind], "logger words");
}

fn unix_socket_into_guest_symlink(d: &Daemon) {
    let (path, _) = folder(d, "socket-link");
    let listener = UnixListener::bind(path.join("socket")).unwrap();
    symlink("socket", path.join("link")).unwrap();
    let bind = format!("{}:/dev/log", path.join("link").display());
    hears(d, &listener, &["-v", &bind], "logger words");
}

fn unix_socket_into_guest_long_container_id(d: &Daemon) {
    let (path, _) = folder(d, "socket-long");
    let listener = UnixListener::bind(path.join("socket")).unwrap();
    let bind = format!("{}:/dev/log", path.join("socket").display());
    let name = format!("long-{}", "x".repeat(180));
    hears(
        d,
        &listener,
        &["--name", &name, "-v", &bind],
        "logger words",
    );
}

/// What is written just before the end.
fn unix_socket_last_words(d: &Daemon) {
    let (path, _) = folder(d, "socket-last");
    let listener = UnixListener::bind(path.join("socket")).unwrap();
    let bind = format!("{}:/dev/log", path.join("socket").display());
    for _ in 0..5 {
        hears(d, &listener, &["-v", &bind], "logger words");
    }
}
