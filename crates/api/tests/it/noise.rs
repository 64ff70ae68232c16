//! Requests that make no sense: every one gets an answer, none a panic.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::harness::Harness;

const PATHS: [&str; 24] = [
    "_ping",
    "version",
    "info",
    "events",
    "system/df",
    "auth",
    "containers/json",
    "containers/create",
    "containers/one/json",
    "containers/one/start",
    "containers/one/attach",
    "containers/one/logs",
    "containers/one/stats",
    "containers/one/archive",
    "containers/one/exec",
    "containers/one/update",
    "exec/one/start",
    "images/json",
    "images/create",
    "images/a/b/tag",
    "images/a/json",
    "networks/create",
    "volumes/create",
    "commit",
];
const KEYS: [&str; 14] = [
    "all",
    "limit",
    "filters",
    "since",
    "until",
    "t",
    "path",
    "stream",
    "stdout",
    "name",
    "h",
    "tail",
    "detachKeys",
    "condition",
];

fn query() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        "[a-z0-9{}\\[\\]:,.%+/-]{0,20}",
        Just("%7B%22status%22:%5B%22x%22%5D%7D".to_owned()),
        Just("99999999999999999999".to_owned()),
        Just("-1".to_owned()),
    ];
    let pair =
        (prop::sample::select(&KEYS[..]), value).prop_map(|(key, value)| format!("{key}={value}"));
    prop::collection::vec(pair, 0..3).prop_map(|pairs| pairs.join("&"))
}

fn body() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[\\[\\]{}\",:a-cI0-9]{0,30}",
        Just(r#"{"Image":"busybox","HostConfig":{"Mounts":[{}]}}"#.to_owned()),
        Just(r#"{"Cmd":[],"Container":7}"#.to_owned()),
        Just(r#"{"Name":"","IPAM":{"Config":[null]}}"#.to_owned()),
    ]
}

#[test]
fn noise_is_answered() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let harness = runtime.block_on(async { Harness::new() });
    let strategy = (
        prop::sample::select(&["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"][..]),
        prop::sample::select(&["", "/v1.24", "/v1.41", "/v1.47", "/v2.0", "/vx"][..]),
        prop_oneof![
            4 => prop::sample::select(&PATHS[..]).prop_map(str::to_owned),
            1 => "[a-z0-9/%.-]{0,20}",
        ],
        query(),
        body(),
    );
    let mut runner = TestRunner::new(Config::with_cases(400));
    runner
        .run(&strategy, |(method, version, path, query, body)| {
            // What has no end of its own is left out.
            let endless = path == "events" || path.ends_with("attach");
            let path = format!("{version}/{path}?{query}");
            if endless {
                return Ok(());
            }
            let answer = runtime.block_on(harness.request(method, &path, &body));
            prop_assert_ne!(answer.status, 500, "{} {}: {}", method, path, answer.text());
            let empty = method == "HEAD" || answer.body.is_empty();
            if answer.status >= 400 && !empty {
                prop_assert!(answer.json()["message"].is_string());
            }
            Ok(())
        })
        .unwrap();
}
