//! `--format`.

use serde_json::Value;

use crate::harness::Daemon;

#[tokio::test]
async fn every_list_has_every_format() {
    let daemon = Daemon::start();
    daemon.sleeper("web").await;
    daemon.run("volume create data").await.ok();
    for line in [
        "ps",
        "images",
        "network ls",
        "volume ls",
        "history busybox",
        "stats --no-stream",
        "system df",
    ] {
        let rows = daemon.run(&format!("{line} --format json")).await.ok();
        assert!(!rows.is_empty(), "{line}");
        for row in rows.lines() {
            let row: Value = serde_json::from_str(row).unwrap();
            assert!(row.is_object(), "{line}: {row}");
        }
        let yaml = daemon.run(&format!("{line} --format yaml")).await.ok();
        assert!(yaml.starts_with("- "), "{line}: {yaml}");
        let mut words: Vec<&str> = line.split(' ').collect();
        words.extend(["--format", "{{json .}}"]);
        let same = daemon.args(&words).await.ok();
        // Times go on between the two.
        assert_eq!(same.lines().count(), rows.lines().count(), "{line}");
        let error = daemon
            .run(&format!("{line} --format {{{{.Nosuch}}}}"))
            .await
            .fails(1);
        assert!(error.contains("has no field \"Nosuch\""), "{line}: {error}");
        assert!(error.contains("hint: "), "{line}: {error}");
        let error = daemon.run(&format!("{line} --format bogus")).await.fails(1);
        assert!(
            error.contains("invalid argument \"bogus\" for --format"),
            "{line}: {error}"
        );
    }
}

#[tokio::test]
async fn tables_of_ones_own() {
    let daemon = Daemon::start();
    daemon.sleeper("web").await;
    let table = daemon
        .args(&["ps", "--format", "table {{.Names}}\\t{{.State}}"])
        .await
        .ok();
    assert_eq!(table, "NAMES     STATE\nweb       running\n");
    let text = daemon
        .args(&[
            "ps",
            "--format",
            "{{upper .Names}}{{\"\\t\"}}{{truncate .Image 4}}",
        ])
        .await
        .ok();
    assert_eq!(text, "WEB\tbusy\n");
}

#[tokio::test]
async fn no_colours_off_a_terminal() {
    let daemon = Daemon::start();
    for line in ["system status", "ps", "rm nosuch", "--help"] {
        let done = daemon.run(line).await;
        assert!(!(done.out + &done.err).contains('\x1b'), "{line}");
    }
}

#[tokio::test]
async fn information_in_every_format() {
    let daemon = Daemon::start();
    assert!(daemon.run("info").await.ok().contains("Server Version: "));
    assert_eq!(daemon.run("system info").await.code, 0);
    let json = daemon.run("info --format json").await.ok();
    let value: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(value["ContainersRunning"], 0);
    assert!(
        daemon
            .run("info -f yaml")
            .await
            .ok()
            .contains("OSType: linux")
    );
}
