//! Further processes in containers.

use coracle_native::exec::{Exec, ExecCreate};
use coracle_native::query::Nothing;
use coracle_native::stream::Output;
use coracle_runtime::exec::StartExec;
use coracle_runtime::{Result, RuntimeError};
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;

use super::call::{Call, Json, NoBody};
use super::error::{Answer, NativeError};
use super::reply::{Either, Found, Lines};
use super::table::{Route, Table};

pub(super) fn declare(table: &mut Table) {
    let run = Route::post(
        "/containers/{container}/exec",
        "Runs a further process: its output line by line, then its exit code",
    );
    table.route(run.fails(&[404, 409, 501]), run_one);
    let inspect = Route::get("/execs/{exec}", "Looks at a further process");
    table.route(inspect.fails(&[404, 501]), inspect_one);
}

async fn run_one(
    call: Call<Nothing, Json<ExecCreate>>,
) -> Answer<Either<Found<Exec>, Lines<Output>>> {
    let body = call.body.0;
    if body.command.is_empty() {
        return Err(NativeError::invalid("command: want at least one word"));
    }
    if body.detach && !body.stdin.is_empty() {
        return Err(NativeError::invalid(
            "stdin: a detached process reads nothing",
        ));
    }
    let runtime = call.api.runtime;
    let detach = body.detach;
    let stdin = body.stdin.clone();
    let id = runtime.create_exec(&call.name, body.into()).await?;
    let start = StartExec { detach, size: None };
    let Some(attached) = runtime.start_exec(&id, start).await? else {
        return Ok(Either::First(Found(
            runtime.inspect_exec(&id).await?.into(),
        )));
    };
    if let Some(mut input) = attached.input {
        tokio::spawn(async move {
            // A process that reads nothing more is its own affair.
            let _ = input.write_all(stdin.as_bytes()).await;
            let _ = input.shutdown().await;
        });
    }
    let output = attached
        .output
        .map(|item| item.map(|(kind, bytes)| Output::new(kind, &bytes)));
    let exit_code = async move { exit_code(&*runtime, &id).await };
    Ok(Either::Second(
        Lines::new(output.boxed()).with_exit_code(exit_code),
    ))
}

/// The exit code, which is there once the output has ended, or very soon after.
async fn exit_code(runtime: &dyn coracle_runtime::Runtime, id: &str) -> Result<i32> {
    for _ in 0..100 {
        if let Some(code) = runtime.inspect_exec(id).await?.exit_code {
            return Ok(code);
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    Err(RuntimeError::Timeout(format!(
        "process {id} closed its output and runs on: its exit code is not known yet"
    )))
}

async fn inspect_one(call: Call<Nothing, NoBody>) -> Answer<Found<Exec>> {
    Ok(Found(
        call.api.runtime.inspect_exec(&call.name).await?.into(),
    ))
}
