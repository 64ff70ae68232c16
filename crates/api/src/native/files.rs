//! Containers: their files.

use coracle_native::file::{FileChange, FileInfo};
use coracle_native::query::{ExtractQuery, Nothing, PathQuery};
use coracle_runtime::archive::ExtractOptions;

use super::call::{Archive, Call, NoBody};
use super::error::Answer;
use super::reply::{Done, Found, Tar};
use super::table::{Route, Table};

pub(super) fn declare(table: &mut Table) {
    let read = Route::get(
        "/containers/{container}/files",
        "Reads a path inside, as a tar",
    );
    table.route(read.fails(&[404, 409, 501]), read_path);
    let write = Route::put("/containers/{container}/files", "Extracts a tar inside");
    table.route(write.fails(&[404, 409, 501]), write_path);
    let stat = Route::get(
        "/containers/{container}/files/info",
        "Tells what a path inside is",
    );
    table.route(stat.fails(&[404, 409, 501]), stat_path);
    let changes = Route::get(
        "/containers/{container}/changes",
        "Lists the files that differ from the image's",
    );
    table.route(changes.fails(&[404, 501]), list_changes);
    let export = Route::get(
        "/containers/{container}/export",
        "Reads all files, as a tar",
    );
    table.route(export.fails(&[404, 501]), export_all);
}

async fn read_path(call: Call<PathQuery, NoBody>) -> Answer<Tar> {
    let found = call
        .api
        .runtime
        .read_path(&call.name, &call.query.path)
        .await?;
    Tar::begun(found.tar).await
}

async fn write_path(call: Call<ExtractQuery, Archive>) -> Answer<Done> {
    let options = ExtractOptions {
        no_overwrite_dir_non_dir: call.query.keep_kinds,
        copy_uid_gid: call.query.own,
    };
    let path = &call.query.path;
    let tar = call.body.0;
    call.api
        .runtime
        .write_path(&call.name, path, options, tar)
        .await?;
    Ok(Done)
}

async fn stat_path(call: Call<PathQuery, NoBody>) -> Answer<Found<FileInfo>> {
    Ok(Found(
        call.api
            .runtime
            .stat_path(&call.name, &call.query.path)
            .await?
            .into(),
    ))
}

async fn list_changes(call: Call<Nothing, NoBody>) -> Answer<Found<Vec<FileChange>>> {
    let changes = call.api.runtime.container_changes(&call.name).await?;
    Ok(Found(changes.into_iter().map(Into::into).collect()))
}

async fn export_all(call: Call<Nothing, NoBody>) -> Answer<Tar> {
    Tar::begun(call.api.runtime.export_container(&call.name).await?).await
}
