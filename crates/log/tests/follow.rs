//! Following a log while it is written and rotated.

#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

mod common;

use std::time::Duration;

use common::*;
use coracle_log::*;
use futures_util::StreamExt;
use tokio::sync::oneshot;

async fn next(
    stream: &mut (impl futures_core::Stream<Item = Result<Item, ReadError>> + Unpin),
) -> String {
    let item = tokio::time::timeout(Duration::from_secs(10), stream.next())
        .await
        .unwrap();
    match item.unwrap().unwrap() {
        Item::Entry(entry) => String::from_utf8_lossy(&entry.line).trim_end().to_owned(),
        Item::Skipped(skipped) => panic!("{skipped:?}"),
    }
}

#[tokio::test]
async fn entries_come_as_they_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), Driver::JsonFile);
    let (stop, stopped) = oneshot::channel::<()>();
    let mut stream = follow(&config, everything(), async {
        let _ = stopped.await;
    });
    let early = tokio::time::timeout(Duration::from_millis(50), stream.next()).await;
    assert!(early.is_err(), "nothing yet, not even a file");
    let mut writer = LogWriter::open(&config).unwrap();
    for n in 0..5 {
        writer
            .write(Stream::Stdout, format!("{n}\n").as_bytes())
            .unwrap();
        assert_eq!(next(&mut stream).await, n.to_string());
    }
    writer.write(Stream::Stdout, b"last").unwrap();
    writer.finish().unwrap();
    stop.send(()).unwrap();
    assert_eq!(next(&mut stream).await, "last");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn tail_of_nothing_then_new_ones() {
    for driver in [Driver::JsonFile, Driver::Local] {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), driver);
        let mut writer = LogWriter::open(&config).unwrap();
        writer.write(Stream::Stdout, b"old\n").unwrap();
        let options = ReadOptions {
            tail: Some(0),
            ..everything()
        };
        let mut stream = follow(&config, options, std::future::pending());
        assert!(
            tokio::time::timeout(Duration::from_millis(50), stream.next())
                .await
                .is_err()
        );
        writer.write(Stream::Stdout, b"new\n").unwrap();
        assert_eq!(next(&mut stream).await, "new");
    }
}

#[tokio::test]
async fn until_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), Driver::JsonFile);
    let until = jiff::Timestamp::now() + Duration::from_millis(100);
    let options = ReadOptions {
        until: Some(until),
        ..everything()
    };
    let mut stream = follow(&config, options, std::future::pending());
    let end = tokio::time::timeout(Duration::from_secs(5), stream.next())
        .await
        .unwrap();
    assert!(end.is_none());
}

/// A writer that waits after each rotation or so for the readers, as their contract excludes
/// files that are removed before they are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_hole_and_no_repeat_over_rotations() {
    for driver in [Driver::JsonFile, Driver::Local] {
        for compress in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let config = LogConfig {
                max_size: Some(3000),
                max_file: 200,
                compress,
                ..config(dir.path(), driver)
            };
            let total = 5000;
            let (stop, stopped) = oneshot::channel::<()>();
            let fast = follow(&config, everything(), async {
                let _ = stopped.await;
            });
            let (stop_slow, stopped) = oneshot::channel::<()>();
            let slow = follow(&config, everything(), async {
                let _ = stopped.await;
            });
            let read = |mut stream: LogStream, pause: u64| {
                tokio::spawn(async move {
                    let mut n = 0;
                    while let Some(item) = stream.next().await {
                        let Item::Entry(entry) = item.unwrap() else {
                            panic!("skipped")
                        };
                        let line = String::from_utf8_lossy(&entry.line).trim_end().to_owned();
                        assert_eq!(line, n.to_string());
                        n += 1;
                        if pause > 0 && n % 100 == 0 {
                            tokio::time::sleep(Duration::from_millis(pause)).await;
                        }
                    }
                    n
                })
            };
            let (fast, slow) = (read(fast, 0), read(slow, 10));
            let writing = config.clone();
            tokio::task::spawn_blocking(move || {
                let mut writer = LogWriter::open(&writing).unwrap();
                for n in 0..total {
                    writer
                        .write(Stream::Stdout, format!("{n}\n").as_bytes())
                        .unwrap();
                    if n % 50 == 0 {
                        std::thread::sleep(Duration::from_micros(500));
                    }
                }
                writer.finish().unwrap();
            })
            .await
            .unwrap();
            stop.send(()).unwrap();
            stop_slow.send(()).unwrap();
            assert_eq!(fast.await.unwrap(), total);
            assert_eq!(slow.await.unwrap(), total);
        }
    }
}
