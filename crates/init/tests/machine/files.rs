//! Files of containers and of the machine.

use coracle_guest::{ChangeKind, Direction, File, FsOperation, Mount, Share, Source, WriteOptions};
use coracle_task::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::fixture::{Guest, OUTPUT, config, shell};

crate::tests![copies, changes, machine, file_systems, shares];

async fn copies(guest: &Guest) {
    let agent = &guest.agent;
    // Before it runs, then while it runs.
    for running in [false, true] {
        let started = match running {
            true => Some(
                agent
                    .run("c", &config(&["sleep", "1000"]), OUTPUT)
                    .await
                    .unwrap(),
            ),
            false => None,
        };
        let stat = agent.stat("c", "/etc/passwd").await.unwrap();
        assert_eq!((&*stat.name, stat.size), (&b"passwd"[..], 26));
        let error = agent.stat("c", "/none").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        let (stat, mut tar) = agent.read("c", "/bin/busybox").await.unwrap();
        let mut bytes = Vec::new();
        tar.read_to_end(&mut bytes).await.unwrap();
        assert!(bytes.len() as u64 > stat.size && bytes.starts_with(b"busybox\0"));
        let mut channel = agent.open_channel(Direction::ToGuest).unwrap();
        let writing = agent.write("c", "/tmp", WriteOptions::default(), channel.id());
        let sending = async move {
            channel.write_all(&bytes).await.unwrap();
            channel.shutdown().await.unwrap();
        };
        let (written, ()) = tokio::join!(writing, sending);
        written.unwrap();
        let copied = agent.stat("c", "/tmp/busybox").await.unwrap();
        assert_eq!(copied.size, stat.size);
        // One that is given up is an error, not a short copy.
        let channel = agent.open_channel(Direction::ToGuest).unwrap();
        let writing = agent.write("c", "/tmp", WriteOptions::default(), channel.id());
        let failing = async move { channel.fail("given up") };
        let (written, ()) = tokio::join!(writing, failing);
        assert!(written.is_err());
        let mut whole = Vec::new();
        agent
            .export("c")
            .await
            .unwrap()
            .read_to_end(&mut whole)
            .await
            .unwrap();
        assert!(whole.len() as u64 > 2 * stat.size);
        drop(started);
        agent.delete("c").await.unwrap();
    }
}

async fn changes(guest: &Guest) {
    let script = "echo new > /etc/new; rm /etc/deleted; rm -f /tmp/busybox";
    assert_eq!(guest.run(&shell(script)).await.exited.code, 0);
    let changes = guest.agent.changes("c", 1 << 20).await.unwrap();
    let has = |path: &str, kind| {
        let found = changes.iter().find(|change| change.path == path.as_bytes());
        assert_eq!(found.map(|change| change.kind), Some(kind), "{changes:?}");
    };
    has("/etc", ChangeKind::Modified);
    has("/etc/new", ChangeKind::Added);
    has("/etc/deleted", ChangeKind::Deleted);
    let mut layer = Vec::new();
    guest
        .agent
        .diff("c")
        .await
        .unwrap()
        .read_to_end(&mut layer)
        .await
        .unwrap();
    let text = String::from_utf8_lossy(&layer);
    assert!(text.contains("etc/.wh.deleted") && text.contains("etc/new"));
}

async fn machine(guest: &Guest) {
    let agent = &guest.agent;
    assert_eq!(agent.read_file("/etc/machine-id").await.unwrap().len(), 33);
    assert_eq!(
        agent.sysctl("kernel.hostname", None).await.unwrap(),
        "machine"
    );
    assert_eq!(
        agent.sysctl("vm.swappiness", Some("10")).await.unwrap(),
        "10"
    );
    assert_eq!(
        agent.sysctl("vm.overcommit_memory", None).await.unwrap(),
        "1"
    );
    agent.make_dir("/run/a/b", 0o755, true).await.unwrap();
    let again = agent.make_dir("/run/a/b", 0o755, false).await.unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    let file = File {
        path: "/run/a/c/file".into(),
        mode: 0o600,
        uid: 1,
        gid: 2,
        data: b"text".to_vec(),
    };
    agent.write_file(&file).await.unwrap();
    assert_eq!(agent.read_file("/run/a/c/file").await.unwrap(), b"text");
    let mount = Mount {
        source: Source::Path("tmpfs".into()),
        target: "/run/a/b".into(),
        kind: "tmpfs".into(),
        options: vec!["size=1m".into(), "nosuid".into()],
    };
    agent.mount(&mount).await.unwrap();
    assert!(
        agent
            .read_file("/proc/mounts")
            .await
            .unwrap()
            .windows(8)
            .any(|it| it == b"/run/a/b")
    );
    agent.unmount("/run/a/b").await.unwrap();
    assert!(agent.unmount("/run/a/b").await.is_err());
    let controllers = agent
        .read_file("/sys/fs/cgroup/cgroup.subtree_control")
        .await
        .unwrap();
    let controllers = String::from_utf8(controllers).unwrap();
    for controller in ["cpu", "memory", "pids", "io"] {
        assert!(controllers.contains(controller), "{controllers}");
    }
    assert!(agent.read_file("/dev/zero").await.is_err());
}

async fn file_systems(guest: &Guest) {
    let agent = &guest.agent;
    let path = "/run/coracle/c/layer";
    assert!(agent.file_system(path, FsOperation::Trim).await.unwrap() > 0);
    agent.file_system(path, FsOperation::Sync).await.unwrap();
    agent.file_system(path, FsOperation::Freeze).await.unwrap();
    let writing = agent.make_dir("/run/coracle/c/layer/frozen", 0o755, false);
    let mut writing = std::pin::pin!(writing);
    let quiet = std::time::Duration::from_millis(300);
    assert!(tokio::time::timeout(quiet, &mut writing).await.is_err());
    agent.file_system(path, FsOperation::Thaw).await.unwrap();
    writing.await.unwrap();
}

async fn shares(guest: &Guest) {
    let agent = &guest.agent;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "of the host").unwrap();
    let source = std::fs::File::open(dir.path()).unwrap();
    let share = Share {
        target: "/run/shared/dir".into(),
        is_dir: true,
        read_only: false,
    };
    let channel = agent.share(&share).await.unwrap();
    let serving = coracle_share::serve(channel, source.into(), Default::default());
    let serving = tokio::spawn(serving);
    let read = agent.read_file("/run/shared/dir/file").await.unwrap();
    assert_eq!(read, b"of the host");
    let file = File {
        path: "/run/shared/dir/new".into(),
        mode: 0o644,
        uid: 0,
        gid: 0,
        data: vec![b'x'; 500_000],
    };
    agent.write_file(&file).await.unwrap();
    assert_eq!(std::fs::read(dir.path().join("new")).unwrap(), file.data);
    agent.unmount("/run/shared/dir").await.unwrap();
    let ended = tokio::time::timeout(std::time::Duration::from_secs(60), serving).await;
    println!("the share's server: {:?}", ended.unwrap().unwrap());
}
