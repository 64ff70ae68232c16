//! Containers: what becomes of them.

use coracle_native::outcome::{Changed, ExitStatus};
use coracle_native::query::{Nothing, WaitFor, WaitQuery};
use coracle_native::request::{Kill, Stop};
use coracle_runtime::container::{StopOptions, WaitCondition};
use coracle_runtime::{RuntimeError, signal};

use super::call::{Call, NoBody, Optional};
use super::error::Answer;
use super::reply::{Done, Found};
use super::table::{Route, Table};

pub(super) fn declare(table: &mut Table) {
    let start = Route::post("/containers/{container}/start", "Starts a container");
    table.route(start.fails(&[404, 409]), start_one);
    let stop = Route::post("/containers/{container}/stop", "Stops a container");
    table.route(stop.fails(&[404, 409]), stop_one);
    let restart = Route::post(
        "/containers/{container}/restart",
        "Stops and starts a container",
    );
    table.route(restart.fails(&[404, 409]), restart_one);
    let kill = Route::post(
        "/containers/{container}/kill",
        "Sends a signal to a container",
    );
    table.route(kill.fails(&[404, 409]), kill_one);
    let pause = Route::post("/containers/{container}/pause", "Freezes a container");
    table.route(pause.fails(&[404, 409, 501]), pause_one);
    let unpause = Route::post("/containers/{container}/unpause", "Thaws a container");
    table.route(unpause.fails(&[404, 409, 501]), unpause_one);
    let wait = Route::post(
        "/containers/{container}/wait",
        "Waits for a container's end",
    );
    table.route(wait.fails(&[404, 409]), wait_for);
}

async fn start_one(call: Call<Nothing, NoBody>) -> Answer<Found<Changed>> {
    Ok(Found(
        call.api.runtime.start_container(&call.name).await?.into(),
    ))
}

fn options(stop: Stop) -> Answer<StopOptions> {
    if !stop.signal.is_empty() {
        signal::parse(&stop.signal)?;
    }
    Ok(StopOptions {
        signal: Some(stop.signal).filter(|signal| !signal.is_empty()),
        timeout: stop.timeout,
    })
}

async fn stop_one(call: Call<Nothing, Optional<Stop>>) -> Answer<Found<Changed>> {
    let options = options(call.body.0)?;
    Ok(Found(
        call.api
            .runtime
            .stop_container(&call.name, options)
            .await?
            .into(),
    ))
}

async fn restart_one(call: Call<Nothing, Optional<Stop>>) -> Answer<Done> {
    let options = options(call.body.0)?;
    call.api
        .runtime
        .restart_container(&call.name, options)
        .await?;
    Ok(Done)
}

async fn kill_one(call: Call<Nothing, Optional<Kill>>) -> Answer<Done> {
    let signal = match call.body.0.signal.as_str() {
        "" => "KILL".to_owned(),
        signal => signal.to_owned(),
    };
    call.api.runtime.kill_container(&call.name, &signal).await?;
    Ok(Done)
}

async fn pause_one(call: Call<Nothing, NoBody>) -> Answer<Done> {
    call.api.runtime.pause_container(&call.name).await?;
    Ok(Done)
}

async fn unpause_one(call: Call<Nothing, NoBody>) -> Answer<Done> {
    call.api.runtime.unpause_container(&call.name).await?;
    Ok(Done)
}

async fn wait_for(call: Call<WaitQuery, NoBody>) -> Answer<Found<ExitStatus>> {
    let condition = match call.query.condition.unwrap_or_default() {
        WaitFor::NotRunning => WaitCondition::NotRunning,
        WaitFor::NextExit => WaitCondition::NextExit,
        WaitFor::Removed => WaitCondition::Removed,
    };
    let exit = call
        .api
        .runtime
        .wait_container(&call.name, condition)
        .await?;
    tokio::select! {
        exit = exit => Ok(Found(exit?.into())),
        () = call.gone.wait() => {
            Err(RuntimeError::Unavailable("the daemon is about to stop".into()).into())
        }
    }
}
