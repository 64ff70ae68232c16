//! Networks.

use coracle_native::Page;
use coracle_native::network::{Network, NetworkConnect, NetworkCreate, NetworkDisconnect};
use coracle_native::outcome::Pruned;
use coracle_native::query::{Nothing, PageQuery};
use coracle_native::request::Prune;
use coracle_runtime::RuntimeError;
use coracle_runtime::network::ConnectRequest;

use super::call::{Call, Json, NoBody, Optional};
use super::containers::filters;
use super::error::{Answer, NativeError};
use super::page::page;
use super::reply::{Created, Done, Found};
use super::table::{Route, Table};

pub(super) fn declare(table: &mut Table) {
    table.route(Route::get("/networks", "Lists networks"), list);
    let make = Route::post("/networks", "Makes a network");
    table.route(make.fails(&[404, 409, 501]), create);
    let one = Route::get("/networks/{network}", "Looks at a network");
    table.route(one.fails(&[404]), inspect);
    let remove = Route::delete("/networks/{network}", "Removes a network that nothing uses");
    table.route(remove.fails(&[404, 409, 501]), remove_one);
    let connect = Route::post(
        "/networks/{network}/connect",
        "Puts a container on a network",
    );
    table.route(connect.fails(&[404, 409, 501]), connect_one);
    let disconnect = Route::post(
        "/networks/{network}/disconnect",
        "Takes a container off a network",
    );
    table.route(disconnect.fails(&[404, 409, 501]), disconnect_one);
    table.route(
        Route::post("/networks/prune", "Removes unused networks"),
        prune,
    );
}

async fn list(call: Call<PageQuery, NoBody>) -> Answer<Found<Page<Network>>> {
    let networks = call.api.runtime.list_networks().await?;
    let (limit, cursor) = (call.query.limit, call.query.cursor);
    page(
        networks,
        |one| format!("{}/{}", one.name, one.id),
        limit,
        cursor.as_deref(),
        Into::into,
    )
    .map(Found)
}

async fn create(call: Call<Nothing, Json<NetworkCreate>>) -> Answer<Created<Network>> {
    let runtime = call.api.runtime;
    let spec = call.body.0;
    if spec.name.is_empty() {
        return Err(NativeError::invalid("name: a network needs one"));
    }
    let id = runtime.create_network(spec.into()).await?;
    Ok(Created(runtime.inspect_network(&id).await?.into()))
}

async fn inspect(call: Call<Nothing, NoBody>) -> Answer<Found<Network>> {
    Ok(Found(
        call.api.runtime.inspect_network(&call.name).await?.into(),
    ))
}

async fn remove_one(call: Call<Nothing, NoBody>) -> Answer<Done> {
    let runtime = &call.api.runtime;
    let refused = match runtime.remove_network(&call.name).await {
        Ok(()) => return Ok(Done),
        Err(refused) => refused,
    };
    // To Docker's clients it is forbidden; here it is a conflict, and who is in the way is told.
    if matches!(refused, RuntimeError::Forbidden(_))
        && let Ok(network) = runtime.inspect_network(&call.name).await
        && !network.containers.is_empty()
        && !matches!(network.name.as_str(), "bridge" | "host" | "none")
    {
        let users = network.containers.into_values();
        let users: Vec<String> = users.map(|user| user.name).collect();
        return Err(RuntimeError::InvalidState(format!(
            "network {} is in use by {}: disconnect or remove them first",
            network.name,
            users.join(", ")
        ))
        .into());
    }
    Err(refused.into())
}

async fn connect_one(call: Call<Nothing, Json<NetworkConnect>>) -> Answer<Done> {
    let request = ConnectRequest::from(call.body.0);
    call.api
        .runtime
        .connect_network(&call.name, request)
        .await?;
    Ok(Done)
}

async fn disconnect_one(call: Call<Nothing, Json<NetworkDisconnect>>) -> Answer<Done> {
    let body = call.body.0;
    let runtime = call.api.runtime;
    runtime
        .disconnect_network(&call.name, &body.container, body.force)
        .await?;
    Ok(Done)
}

async fn prune(call: Call<Nothing, Optional<Prune>>) -> Answer<Found<Pruned>> {
    let filters = filters(&call.body.0);
    let deleted = call.api.runtime.prune_networks(&filters).await?;
    Ok(Found(Pruned {
        deleted,
        space_reclaimed: 0,
    }))
}
