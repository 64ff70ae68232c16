//! What the tests of reading and writing share.

use std::path::Path;

use coracle_log::*;
use futures_util::StreamExt;

pub fn config(dir: &Path, driver: Driver) -> LogConfig {
    LogConfig {
        driver,
        path: dir.join("x-json.log"),
        max_size: None,
        max_file: 1,
        compress: false,
        attrs: Default::default(),
    }
}

pub fn everything() -> ReadOptions {
    ReadOptions {
        since: None,
        until: None,
        tail: None,
        stdout: true,
        stderr: true,
        details: false,
    }
}

pub async fn items(config: &LogConfig, options: ReadOptions) -> Vec<Item> {
    read(config, options).map(Result::unwrap).collect().await
}

pub async fn entries(config: &LogConfig, options: ReadOptions) -> Vec<LogEntry> {
    let items = items(config, options).await;
    items
        .into_iter()
        .map(|item| match item {
            Item::Entry(entry) => entry,
            Item::Skipped(skipped) => panic!("{skipped:?}"),
        })
        .collect()
}

pub async fn lines(config: &LogConfig, options: ReadOptions) -> Vec<String> {
    let entries = entries(config, options).await;
    entries
        .iter()
        .map(|e| String::from_utf8_lossy(&e.line).trim_end().to_owned())
        .collect()
}

pub fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| n.to_string()).collect()
}
