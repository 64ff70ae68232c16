//! Containers: what they write, use and run.

use coracle_native::outcome::Processes;
use coracle_native::query::{LogsQuery, Nothing, StatsQuery, TopQuery};
use coracle_native::stats::{Stats, StatsHistory};
use coracle_native::stream::LogLine;
use coracle_runtime::RuntimeError;
use coracle_runtime::io::LogOptions;
use futures_util::StreamExt;

use super::call::{Call, NoBody};
use super::error::{Answer, NativeError};
use super::reply::{Found, Lines};
use super::table::{Route, Table};

pub(super) fn declare(table: &mut Table) {
    let logs = Route::get("/containers/{container}/logs", "Reads a container's log");
    table.route(logs.fails(&[404, 501]), read_logs);
    let stats = Route::get(
        "/containers/{container}/stats",
        "Reads what a container uses, once or every second",
    );
    table.route(stats.fails(&[404, 501]), read_stats);
    let history = Route::get(
        "/containers/{container}/stats/history",
        "Shows what a container used in the last ten minutes",
    );
    table.route(history.fails(&[404, 501]), stats_history);
    let top = Route::get(
        "/containers/{container}/processes",
        "Lists a container's processes",
    );
    table.route(top.fails(&[404, 409, 501]), processes);
}

async fn read_logs(call: Call<LogsQuery, NoBody>) -> Answer<Lines<LogLine>> {
    let query = call.query;
    let options = LogOptions {
        stdout: query.stdout.unwrap_or(true),
        stderr: query.stderr.unwrap_or(true),
        follow: query.follow,
        tail: query.tail.map(|lines| lines as usize),
        since: query.since,
        until: query.until,
        boot: query.boot,
    };
    if !options.stdout && !options.stderr {
        return Err(NativeError::invalid("stdout and stderr can't both be off"));
    }
    let logs = call.api.runtime.container_logs(&call.name, options).await?;
    let lines = logs.entries.map(|entry| entry.map(LogLine::from));
    Ok(Lines::new(lines.boxed()))
}

async fn read_stats(call: Call<StatsQuery, NoBody>) -> Answer<Lines<Stats>> {
    let runtime = call.api.runtime;
    let readings = runtime
        .container_stats(&call.name, call.query.stream)
        .await?;
    let readings = readings.map(|reading| reading.map(Stats::from));
    Lines::begun(readings.boxed(), &call.gone).await
}

async fn stats_history(call: Call<Nothing, NoBody>) -> Answer<Found<StatsHistory>> {
    let runtime = &call.api.runtime;
    if !runtime.capabilities().stats {
        return Err(RuntimeError::NotSupported("stats".into()).into());
    }
    let container = runtime.inspect_container(&call.name, false).await?;
    Ok(Found(call.api.history.read(runtime, &container.id)))
}

async fn processes(call: Call<TopQuery, NoBody>) -> Answer<Found<Processes>> {
    let args = call.query.args.unwrap_or_default();
    Ok(Found(
        call.api
            .runtime
            .container_top(&call.name, &args)
            .await?
            .into(),
    ))
}
