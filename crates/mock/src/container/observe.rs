//! What a container's processes are, and what they would use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use coracle_runtime::container::Top;
use coracle_runtime::io::BoxStream;
use coracle_runtime::stats::{CpuStats, InterfaceStats, MemoryStats, Stats};
use coracle_runtime::{Result, RuntimeError};
use futures_util::stream;
use jiff::Timestamp;

use crate::engine::Engine;

/// Between two readings of a stream.
const INTERVAL: Duration = Duration::from_secs(1);
/// Bytes that each simulated process seems to use.
const MEMORY: u64 = 1 << 20;
/// Bytes that the simulated host has.
pub(crate) const HOST_MEMORY: u64 = 8 << 30;

/// The processes, as `ps -ef` would tell them.
pub(crate) fn top(engine: &Engine, name: &str, ps_args: &str) -> Result<Top> {
    let state = engine.lock();
    let entry = state.container(name)?;
    let run = entry.running()?;
    let renames = ps_args.split_whitespace().any(|word| {
        word.split(',')
            .any(|column| column.trim_start_matches("-o").starts_with("pid="))
    });
    if renames {
        return Err(RuntimeError::InvalidArgument(
            "specifying \"PID=\" is not allowed: the column is needed to find the processes".into(),
        ));
    }
    let titles = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
    let first = entry.state.pid;
    let pid = |inside: i32| {
        if inside <= 1 {
            first
        } else {
            first + inside - 1
        }
    };
    let processes = run
        .processes
        .all()
        .iter()
        .map(|target| {
            vec![
                run.env.user.uid.to_string(),
                pid(target.pid).to_string(),
                if target.parent == 0 {
                    "1".to_owned()
                } else {
                    pid(target.parent).to_string()
                },
                "0".to_owned(),
                "00:00".to_owned(),
                if run.tty.is_some() { "pts/0" } else { "?" }.to_owned(),
                "00:00:00".to_owned(),
                target.command(),
            ]
        })
        .collect();
    engine.emit(entry, "top", &[]);
    Ok(Top {
        titles: titles.map(str::to_owned).to_vec(),
        processes,
    })
}

/// Readings: one, or one a second until the container is removed.
pub(crate) fn stats(engine: &Arc<Engine>, name: &str, follow: bool) -> Result<BoxStream<Stats>> {
    let id = engine.lock().find(name)?;
    let state = (engine.clone(), id, true);
    Ok(Box::pin(stream::unfold(
        state,
        move |(engine, id, first)| async move {
            if !first {
                if !follow {
                    return None;
                }
                tokio::time::sleep(INTERVAL).await;
            }
            let stats = read(&engine, &id)?;
            Some((Ok(stats), (engine, id, false)))
        },
    )))
}

/// One reading; zeros of a container that does not run, `None` of one that is gone.
fn read(engine: &Engine, id: &str) -> Option<Stats> {
    let state = engine.lock();
    let entry = state.containers.get(id)?;
    let zero = Stats {
        read: Timestamp::now(),
        ..Stats::default()
    };
    let Some(run) = &entry.run else {
        return Some(zero);
    };
    let pids = run.processes.all().len() as u64;
    let ran = u64::try_from(run.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let limit = u64::try_from(entry.host_config.memory).unwrap_or(0);
    let networks = match entry.host_config.network_mode.as_str() {
        "host" | "none" => BTreeMap::new(),
        _ => BTreeMap::from([("eth0".to_owned(), InterfaceStats::default())]),
    };
    Some(Stats {
        pids,
        pids_limit: entry
            .host_config
            .pids_limit
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| *n > 0),
        cpu: CpuStats {
            total: ran / 1000,
            user: ran / 2000,
            system: ran / 2000,
            host_total: ran.saturating_mul(u64::from(engine.host.cpus)),
            online: engine.host.cpus,
            ..CpuStats::default()
        },
        memory: MemoryStats {
            usage: pids * MEMORY,
            limit: if limit == 0 { HOST_MEMORY } else { limit },
            ..MemoryStats::default()
        },
        networks,
        ..zero
    })
}
