//! Keys to this API, for clients that come over TCP. Only an administrator sees these routes.

use std::time::Duration;

use coracle_native::Page;
use coracle_native::key::{Key, KeyCreate, KeyCreated};
use coracle_native::query::{Nothing, PageQuery};
use http::StatusCode;

use super::call::{Call, Json, NoBody};
use super::error::{Answer, NativeError};
use super::page::page;
use super::reply::{Created, Done, Found};
use super::table::{Route, Table};
use crate::keys::KeyError;

pub(super) fn declare(table: &mut Table) {
    table.route(
        Route::get("/keys", "Lists keys, without their secrets"),
        list,
    );
    table.route(Route::post("/keys", "Makes a key").fails(&[409]), create);
    let revoke = Route::delete("/keys/{key}", "Revokes a key, at once and for good");
    table.route(revoke.fails(&[404]), revoke_one);
}

impl From<KeyError> for NativeError {
    fn from(error: KeyError) -> Self {
        let (status, kind) = match error {
            KeyError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalidArgument"),
            KeyError::Unknown(_) => (StatusCode::NOT_FOUND, "notFound"),
            KeyError::TooMany => (StatusCode::CONFLICT, "invalidState"),
            KeyError::Store(_) | KeyError::Random => {
                (StatusCode::INTERNAL_SERVER_ERROR, "internal")
            }
        };
        Self::new(status, kind, error.to_string())
    }
}

async fn list(call: Call<PageQuery, NoBody>) -> Answer<Found<Page<Key>>> {
    let keys = call.api.keys.list();
    let (limit, cursor) = (call.query.limit, call.query.cursor);
    page(
        keys,
        |key| format!("{}/{}", key.created_at, key.id),
        limit,
        cursor.as_deref(),
        |key| key,
    )
    .map(Found)
}

async fn create(call: Call<Nothing, Json<KeyCreate>>) -> Answer<Created<KeyCreated>> {
    let body = call.body.0;
    let life = body.expires_in.map(Duration::from_secs);
    let (key, secret) = call.api.keys.create(&body.name, body.scope, life).await?;
    Ok(Created(KeyCreated { key, secret }))
}

async fn revoke_one(call: Call<Nothing, NoBody>) -> Answer<Done> {
    call.api.keys.revoke(&call.name).await?;
    Ok(Done)
}
