//! Reading what a writer wrote: options, rotation, damage.

#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

mod common;

use std::io::Write;

use common::*;
use coracle_log::*;
use jiff::Timestamp;

const DRIVERS: [Driver; 2] = [Driver::JsonFile, Driver::Local];

fn write_numbers(config: &LogConfig, range: std::ops::Range<usize>) {
    let mut writer = LogWriter::open(config).unwrap();
    for n in range {
        let stream = if n % 2 == 0 {
            Stream::Stdout
        } else {
            Stream::Stderr
        };
        writer.write(stream, format!("{n}\n").as_bytes()).unwrap();
    }
    writer.finish().unwrap();
}

#[tokio::test]
async fn nothing_there() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), Driver::JsonFile);
    assert_eq!(lines(&config, everything()).await, numbers(0..0));
    let mut none = read(&LogConfig::none(), everything());
    use futures_util::StreamExt;
    assert!(matches!(
        none.next().await,
        Some(Err(ReadError::Unsupported))
    ));
}

#[tokio::test]
async fn tail_streams_since_and_until() {
    for driver in DRIVERS {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), driver);
        write_numbers(&config, 0..10);
        write_numbers(&config, 10..20);
        assert_eq!(lines(&config, everything()).await, numbers(0..20));
        for tail in [0, 1, 7, 20, 21, usize::MAX - 1] {
            let options = ReadOptions {
                tail: Some(tail),
                ..everything()
            };
            let from = 20usize.saturating_sub(tail);
            assert_eq!(
                lines(&config, options).await,
                numbers(from..20),
                "{driver:?} {tail}"
            );
        }
        let options = ReadOptions {
            stderr: false,
            tail: Some(4),
            ..everything()
        };
        assert_eq!(lines(&config, options).await, ["16", "18"]);

        let all = entries(&config, everything()).await;
        assert!(
            all.windows(2).all(|w| w[0].time < w[1].time),
            "times are unique"
        );
        let options = ReadOptions {
            since: Some(all[5].time),
            until: Some(all[8].time),
            ..everything()
        };
        assert_eq!(lines(&config, options).await, numbers(5..9));
    }
}

#[tokio::test]
async fn rotated_and_compressed() {
    for driver in DRIVERS {
        for compress in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let config = LogConfig {
                max_size: Some(2000),
                max_file: 4,
                compress,
                ..config(dir.path(), driver)
            };
            write_numbers(&config, 0..1000);
            let mut names: Vec<_> = std::fs::read_dir(dir.path())
                .unwrap()
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            let gz = if compress { ".gz" } else { "" };
            let mut expected: Vec<_> = (1..4).map(|n| format!("x-json.log.{n}{gz}")).collect();
            expected.insert(0, "x-json.log".into());
            assert_eq!(names, expected);

            let all = lines(&config, everything()).await;
            let first: usize = all[0].parse().unwrap();
            assert!(first > 0 && all.len() > 60, "{}", all.len());
            assert_eq!(all, numbers(first..1000));
            for tail in 0..all.len() + 2 {
                let options = ReadOptions {
                    tail: Some(tail),
                    ..everything()
                };
                let from = first.max(1000usize.saturating_sub(tail));
                assert_eq!(lines(&config, options).await, numbers(from..1000));
            }
            let times = entries(&config, everything()).await;
            for (index, entry) in times.iter().enumerate() {
                let options = ReadOptions {
                    since: Some(entry.time),
                    ..everything()
                };
                assert_eq!(lines(&config, options).await, numbers(first + index..1000));
            }
        }
    }
}

#[tokio::test]
async fn since_in_a_large_file() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), Driver::JsonFile);
    write_numbers(&config, 0..20_000);
    let all = entries(&config, everything()).await;
    for at in [0, 1, 777, 10_000, 19_999] {
        let options = ReadOptions {
            since: Some(all[at].time),
            ..everything()
        };
        assert_eq!(lines(&config, options).await, numbers(at..20_000));
    }
    let options = ReadOptions {
        since: Some(Timestamp::MAX),
        ..everything()
    };
    assert_eq!(lines(&config, options).await, numbers(0..0));
}

#[tokio::test]
async fn long_lines_and_attributes() {
    for driver in DRIVERS {
        let dir = tempfile::tempdir().unwrap();
        let attrs = [("k".to_owned(), "v".to_owned())].into();
        let config = LogConfig {
            attrs,
            ..config(dir.path(), driver)
        };
        let mut writer = LogWriter::open(&config).unwrap();
        writer.write(Stream::Stdout, &[b'x'; 40_000]).unwrap();
        writer.write(Stream::Stdout, b"\nrest").unwrap();
        writer.finish().unwrap();
        let all = entries(
            &config,
            ReadOptions {
                details: true,
                ..everything()
            },
        )
        .await;
        let shape: Vec<_> = all.iter().map(|e| (e.line.len(), e.partial)).collect();
        assert_eq!(
            shape,
            [(16384, true), (16384, true), (7233, false), (4, true)]
        );
        assert_eq!(all[0].attrs.len(), usize::from(driver == Driver::JsonFile));
        assert!(entries(&config, everything()).await[0].attrs.is_empty());
    }
}

#[tokio::test]
async fn damage_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), Driver::JsonFile);
    write_numbers(&config, 0..2);
    let mut file = std::fs::OpenOptions::new()
        .append(true)
        .open(&config.path)
        .unwrap();
    file.write_all(b"garbage\n\xff\xfe\n{}\n").unwrap();
    file.write_all(&vec![b'y'; 3 << 20]).unwrap();
    file.write_all(b"\n{\"log\":\"to").unwrap();
    drop(file);
    write_numbers(&config, 2..4);
    let all = items(&config, everything()).await;
    let skipped: Vec<_> = all
        .iter()
        .filter_map(|item| match item {
            Item::Skipped(skipped) => Some(*skipped),
            Item::Entry(_) => None,
        })
        .collect();
    assert_eq!(
        skipped,
        [
            Skipped::Corrupt(7),
            Skipped::Corrupt(2),
            Skipped::Corrupt(2),
            Skipped::TooLong(3 << 20),
            Skipped::Corrupt(10),
        ]
    );
    assert_eq!(all.len(), 9, "and all four entries");
}

#[tokio::test]
async fn a_torn_entry_of_a_killed_writer_is_cut_away() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), Driver::Local);
    write_numbers(&config, 0..3);
    let bytes = std::fs::read(&config.path).unwrap();
    for cut in 1..24 {
        std::fs::write(&config.path, &bytes[..bytes.len() - cut]).unwrap();
        let kept = lines(&config, everything()).await.len();
        assert_eq!(kept, 2, "{cut}");
        write_numbers(&config, 2..4);
        assert_eq!(lines(&config, everything()).await, numbers(0..4));
        let options = ReadOptions {
            tail: Some(3),
            ..everything()
        };
        assert_eq!(lines(&config, options).await, numbers(1..4));
    }
}
