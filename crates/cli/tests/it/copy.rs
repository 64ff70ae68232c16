//! `cp`, by Docker's rules for paths.

use std::os::unix::fs::symlink;

use crate::harness::Daemon;

/// A container with a directory, a file and a link, and the same here.
async fn both() -> Daemon {
    let daemon = Daemon::start();
    let script = "mkdir -p /src/sub && echo a > /src/a && echo b > /src/sub/b && echo f > /file \
                  && ln -s file /link && sleep 1000";
    daemon
        .args(&["run", "-d", "--name", "box", "busybox", "sh", "-c", script])
        .await
        .ok();
    while daemon.run("exec box ls /link").await.code != 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    std::fs::create_dir_all(daemon.path("src/sub")).unwrap();
    std::fs::write(daemon.path("src/a"), "a\n").unwrap();
    std::fs::write(daemon.path("src/sub/b"), "b\n").unwrap();
    std::fs::write(daemon.path("file"), "f\n").unwrap();
    symlink("file", daemon.path("link")).unwrap();
    std::fs::create_dir(daemon.path("out")).unwrap();
    daemon
}

#[tokio::test]
async fn out_of_a_container() {
    let daemon = both().await;
    let read = |path: &str| std::fs::read_to_string(daemon.path(path)).unwrap();
    for (source, target, file) in [
        ("box:/file", "out", "out/file"),
        ("box:/file", "out/", "out/file"),
        ("box:/file", "out/new", "out/new"),
        ("box:/file", "out/new", "out/new"),
    ] {
        daemon.run(&format!("cp {source} {target}")).await.ok();
        assert_eq!(read(file), "f\n", "{source} {target}");
    }
    for (source, target, file) in [
        ("box:/src", "out", "out/src/sub/b"),
        ("box:/src", "out/renamed", "out/renamed/sub/b"),
        ("box:/src/.", "out/content", "out/content/sub/b"),
        ("box:/src/.", "out/content", "out/content/sub/b"),
        ("box:src/", "out/slash", "out/slash/sub/b"),
    ] {
        daemon.run(&format!("cp {source} {target}")).await.ok();
        assert_eq!(read(file), "b\n", "{source} {target}");
    }
    daemon.run("cp box:/link out/").await.ok();
    assert_eq!(
        std::fs::read_link(daemon.path("out/link"))
            .unwrap()
            .to_str(),
        Some("file")
    );
    daemon.run("cp -L box:/link out/followed").await.ok();
    assert_eq!(read("out/followed"), "f\n");
    let done = daemon.run("cp box:/file -").await;
    assert!(done.out.contains("ustar") && done.out.contains("\0f\n\0"));
}

#[tokio::test]
async fn into_a_container() {
    let daemon = both().await;
    for (source, target, file, content) in [
        ("file", "box:/tmp", "/tmp/file", "f\n"),
        ("file", "box:/tmp/", "/tmp/file", "f\n"),
        ("file", "box:/tmp/new", "/tmp/new", "f\n"),
        ("file", "box:/tmp/new", "/tmp/new", "f\n"),
        ("src", "box:/tmp", "/tmp/src/sub/b", "b\n"),
        ("src", "box:/tmp/renamed", "/tmp/renamed/sub/b", "b\n"),
        ("src/.", "box:/tmp/content", "/tmp/content/sub/b", "b\n"),
        ("src/.", "box:/tmp/content", "/tmp/content/sub/b", "b\n"),
        ("-L link", "box:/tmp/followed", "/tmp/followed", "f\n"),
        ("file", "box:/link", "/file", "f\n"),
    ] {
        let done = daemon.run(&format!("cp -q {source} {target}")).await;
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{source} {target}");
        let read = daemon.run(&format!("exec box cat {file}")).await;
        assert_eq!(read.ok(), content, "{source} {target}");
    }
    daemon.run("cp link box:/tmp/").await.ok();
    assert_eq!(
        daemon.run("exec box readlink /tmp/link").await.line(),
        "file"
    );
}

#[tokio::test]
async fn archives_go_through_pipes() {
    let daemon = both().await;
    let mut command = daemon.command(["cp", "box:/src", "-"]);
    let archive = command.output().await.unwrap().stdout;
    let done = daemon.feed(&["cp", "-", "box:/tmp"], &archive).await;
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(daemon.run("exec box cat /tmp/src/sub/b").await.ok(), "b\n");
    let error = daemon
        .feed(&["cp", "-", "box:/file"], &archive)
        .await
        .fails(1);
    assert!(error.contains("must be a directory"), "{error}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let daemon = both().await;
    for (line, part) in [
        ("cp box:/nosuch out", "Could not find the file /nosuch"),
        ("cp nosuch box:/tmp", "nosuch"),
        ("cp nosuch:/a out", "nosuch"),
        ("cp box:/src file", "cannot copy a directory"),
        ("cp src box:/file", "cannot copy a directory"),
        ("cp box:/file out/missing/", "does not exist"),
        ("cp file box:/missing/", "does not exist"),
        ("cp box:/file missing/there", "does not exist"),
        ("cp file/ box:/tmp", "file"),
        ("cp box:/a box:/b", "between containers"),
        ("cp a b", "CONTAINER:PATH"),
    ] {
        let error = daemon.run(line).await.fails(1);
        assert!(error.contains(part), "{line}: {error}");
    }
}
