//! Secrets and configs.

use coracle_native::Page;
use coracle_native::query::{Nothing, PageQuery};
use coracle_native::secret::{Config, Made, Relabel, Rotated, Secret, SecretCreate};
use coracle_runtime::secret::SecretSpec;

use super::call::{Call, Json, NoBody, Private};
use super::error::{Answer, NativeError};
use super::page::page;
use super::reply::{Created, Done, Found};
use super::table::{Route, Table};

pub(super) fn declare(table: &mut Table) {
    table.route(
        Route::get("/secrets", "Lists secrets").fails(&[501]),
        list_secrets,
    );
    let make = Route::post("/secrets", "Makes a secret");
    table.route(make.fails(&[409, 501]), create_secret);
    let rotate = Route::post(
        "/secrets/rotate",
        "Encrypts all secrets and configs under a new key",
    );
    table.route(rotate.fails(&[501]), rotate_key);
    let one = Route::get(
        "/secrets/{secret}",
        "Looks at a secret, whose value is never shown",
    );
    table.route(one.fails(&[404, 409, 501]), inspect_secret);
    let change = Route::patch("/secrets/{secret}", "Changes a secret's labels");
    table.route(change.fails(&[404, 409, 501]), update_secret);
    let remove = Route::delete("/secrets/{secret}", "Removes a secret that nothing uses");
    table.route(remove.fails(&[404, 409, 501]), remove_secret);
    table.route(
        Route::get("/configs", "Lists configs").fails(&[501]),
        list_configs,
    );
    let make = Route::post("/configs", "Makes a config");
    table.route(make.fails(&[409, 501]), create_config);
    let one = Route::get("/configs/{config}", "Looks at a config");
    table.route(one.fails(&[404, 409, 501]), inspect_config);
    let change = Route::patch("/configs/{config}", "Changes a config's labels");
    table.route(change.fails(&[404, 409, 501]), update_config);
    let remove = Route::delete("/configs/{config}", "Removes a config that nothing uses");
    table.route(remove.fails(&[404, 409, 501]), remove_config);
}

fn spec(body: SecretCreate) -> Answer<SecretSpec> {
    let wrong = || NativeError::invalid("base64: the value is none");
    body.spec().ok_or_else(wrong)
}

async fn list_secrets(call: Call<PageQuery, NoBody>) -> Answer<Found<Page<Secret>>> {
    let secrets = call.api.runtime.list_secrets().await?;
    let (limit, cursor) = (call.query.limit, call.query.cursor);
    let key = |one: &coracle_runtime::secret::Secret| one.name.clone();
    page(secrets, key, limit, cursor.as_deref(), Into::into).map(Found)
}

async fn create_secret(call: Call<Nothing, Private<SecretCreate>>) -> Answer<Created<Made>> {
    let id = call.api.runtime.create_secret(spec(call.body.0)?).await?;
    Ok(Created(Made { id }))
}

async fn rotate_key(call: Call<Nothing, NoBody>) -> Answer<Found<Rotated>> {
    let count = call.api.runtime.rotate_secret_key().await?;
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    Ok(Found(Rotated { count }))
}

async fn inspect_secret(call: Call<Nothing, NoBody>) -> Answer<Found<Secret>> {
    Ok(Found(
        call.api.runtime.inspect_secret(&call.name).await?.into(),
    ))
}

async fn update_secret(call: Call<Nothing, Json<Relabel>>) -> Answer<Done> {
    let runtime = call.api.runtime;
    runtime
        .update_secret(&call.name, call.body.0.into())
        .await?;
    Ok(Done)
}

async fn remove_secret(call: Call<Nothing, NoBody>) -> Answer<Done> {
    call.api.runtime.remove_secret(&call.name).await?;
    Ok(Done)
}

async fn list_configs(call: Call<PageQuery, NoBody>) -> Answer<Found<Page<Config>>> {
    let configs = call.api.runtime.list_configs().await?;
    let (limit, cursor) = (call.query.limit, call.query.cursor);
    let key = |one: &coracle_runtime::secret::Config| one.about.name.clone();
    page(configs, key, limit, cursor.as_deref(), Into::into).map(Found)
}

async fn create_config(call: Call<Nothing, Private<SecretCreate>>) -> Answer<Created<Made>> {
    let id = call.api.runtime.create_config(spec(call.body.0)?).await?;
    Ok(Created(Made { id }))
}

async fn inspect_config(call: Call<Nothing, NoBody>) -> Answer<Found<Config>> {
    Ok(Found(
        call.api.runtime.inspect_config(&call.name).await?.into(),
    ))
}

async fn update_config(call: Call<Nothing, Json<Relabel>>) -> Answer<Done> {
    let runtime = call.api.runtime;
    runtime
        .update_config(&call.name, call.body.0.into())
        .await?;
    Ok(Done)
}

async fn remove_config(call: Call<Nothing, NoBody>) -> Answer<Done> {
    call.api.runtime.remove_config(&call.name).await?;
    Ok(Done)
}
