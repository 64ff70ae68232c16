//! Containers: lists, creation, removal.

use coracle_native::Page;
use coracle_native::container::Container;
use coracle_native::create::ContainerCreate;
use coracle_native::outcome::{ContainerCreated, Pruned, Updated};
use coracle_native::query::{ContainerQuery, ContainerRemoveQuery, ContainersQuery, Nothing};
use coracle_native::request::{Prune, Rename};
use coracle_native::update::ContainerUpdate;
use coracle_runtime::Filters;
use coracle_runtime::container::{RemoveOptions, UpdateOptions};
use coracle_runtime::spec::ContainerSpec;

use super::call::{Call, Json, NoBody, Optional};
use super::error::Answer;
use super::page::{newest, page};
use super::reply::{Created, Done, Found};
use super::table::{Route, Table};
use crate::routes::check;

pub(super) fn declare(table: &mut Table) {
    table.route(
        Route::get("/containers", "Lists containers, newest first"),
        list,
    );
    let create = Route::post("/containers", "Makes a container, and does not start it");
    table.route(create.fails(&[404, 409, 501]), make);
    let inspect = Route::get("/containers/{container}", "Looks at a container");
    table.route(inspect.fails(&[404]), inspect_one);
    let change = Route::patch(
        "/containers/{container}",
        "Changes limits and restart policy",
    );
    table.route(change.fails(&[404, 409, 501]), update);
    let remove = Route::delete("/containers/{container}", "Removes a container");
    table.route(remove.fails(&[404, 409]), remove_one);
    let rename = Route::post(
        "/containers/{container}/rename",
        "Gives a container another name",
    );
    table.route(rename.fails(&[404, 409]), rename_one);
    table.route(
        Route::post("/containers/prune", "Removes stopped containers"),
        prune,
    );
}

async fn list(call: Call<ContainersQuery, NoBody>) -> Answer<Found<Page<Container>>> {
    let query = call.query;
    let mut filters = Filters::default();
    for label in &query.label {
        filters.add("label", label);
    }
    let mut containers = call.api.runtime.list_containers(query.size).await?;
    containers.retain(|one| {
        (query.status.is_empty() || query.status.iter().any(|s| s == one.state.status.as_str()))
            && filters.labels(&one.config.labels)
            && query
                .name
                .as_ref()
                .is_none_or(|part| one.name.contains(part.as_str()))
    });
    page(
        containers,
        |one| newest(one.created, &one.id),
        query.limit,
        query.cursor.as_deref(),
        Into::into,
    )
    .map(Found)
}

async fn make(call: Call<Nothing, Json<ContainerCreate>>) -> Answer<Created<ContainerCreated>> {
    let spec = ContainerSpec::from(call.body.0);
    if let Some(name) = &spec.name {
        check::name(name)?;
    }
    check::create(&spec.config, &spec.host)?;
    check::networking(&spec.networking)?;
    let created = call.api.runtime.create_container(spec).await?;
    Ok(Created(created.into()))
}

async fn inspect_one(call: Call<ContainerQuery, NoBody>) -> Answer<Found<Container>> {
    let runtime = call.api.runtime;
    let found = runtime
        .inspect_container(&call.name, call.query.size)
        .await?;
    Ok(Found(found.into()))
}

async fn update(call: Call<Nothing, Json<ContainerUpdate>>) -> Answer<Found<Updated>> {
    let options = UpdateOptions::from(call.body.0);
    check::restart_policy(&options.host)?;
    let warnings = call
        .api
        .runtime
        .update_container(&call.name, options)
        .await?;
    Ok(Found(Updated { warnings }))
}

async fn remove_one(call: Call<ContainerRemoveQuery, NoBody>) -> Answer<Done> {
    let options = RemoveOptions {
        force: call.query.force,
        volumes: call.query.volumes,
        link: false,
    };
    call.api
        .runtime
        .remove_container(&call.name, options)
        .await?;
    Ok(Done)
}

async fn rename_one(call: Call<Nothing, Json<Rename>>) -> Answer<Done> {
    let name = call.body.0.name;
    check::name(&name)?;
    call.api.runtime.rename_container(&call.name, &name).await?;
    Ok(Done)
}

async fn prune(call: Call<Nothing, Optional<Prune>>) -> Answer<Found<Pruned>> {
    let filters = filters(&call.body.0);
    Ok(Found(
        call.api.runtime.prune_containers(&filters).await?.into(),
    ))
}

/// What a prune is limited to.
pub(super) fn filters(prune: &Prune) -> Filters {
    let mut filters = Filters::default();
    for label in &prune.labels {
        filters.add("label", label);
    }
    filters
}
