//! Volumes.

use coracle_native::Page;
use coracle_native::outcome::Pruned;
use coracle_native::query::{ForceQuery, Nothing, PageQuery};
use coracle_native::request::Prune;
use coracle_native::volume::{Volume, VolumeCreate};

use super::call::{Call, Json, NoBody, Optional};
use super::containers::filters;
use super::error::Answer;
use super::page::page;
use super::reply::{Created, Done, Found};
use super::table::{Route, Table};

pub(super) fn declare(table: &mut Table) {
    table.route(Route::get("/volumes", "Lists volumes"), list);
    let make = Route::post("/volumes", "Makes a volume, or gives the one of that name");
    table.route(make.fails(&[404, 409, 501]), create);
    let one = Route::get("/volumes/{volume}", "Looks at a volume");
    table.route(one.fails(&[404]), inspect);
    let remove = Route::delete("/volumes/{volume}", "Removes a volume that nothing uses");
    table.route(remove.fails(&[404, 409, 501]), remove_one);
    let clear = Route::post("/volumes/prune", "Removes unused volumes");
    table.route(clear.fails(&[501]), prune);
}

async fn list(call: Call<PageQuery, NoBody>) -> Answer<Found<Page<Volume>>> {
    let volumes = call.api.runtime.list_volumes().await?;
    let (limit, cursor) = (call.query.limit, call.query.cursor);
    page(
        volumes,
        |one| one.name.clone(),
        limit,
        cursor.as_deref(),
        Into::into,
    )
    .map(Found)
}

async fn create(call: Call<Nothing, Json<VolumeCreate>>) -> Answer<Created<Volume>> {
    let volume = call.api.runtime.create_volume(call.body.0.into()).await?;
    Ok(Created(volume.into()))
}

async fn inspect(call: Call<Nothing, NoBody>) -> Answer<Found<Volume>> {
    Ok(Found(
        call.api.runtime.inspect_volume(&call.name).await?.into(),
    ))
}

async fn remove_one(call: Call<ForceQuery, NoBody>) -> Answer<Done> {
    call.api
        .runtime
        .remove_volume(&call.name, call.query.force)
        .await?;
    Ok(Done)
}

async fn prune(call: Call<Nothing, Optional<Prune>>) -> Answer<Found<Pruned>> {
    let mut filters = filters(&call.body.0);
    if call.body.0.all {
        filters.add("all", "true");
    }
    Ok(Found(
        call.api.runtime.prune_volumes(&filters).await?.into(),
    ))
}
