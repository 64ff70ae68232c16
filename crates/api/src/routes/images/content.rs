//! Images as archives.

use axum::body::Body;
use axum::extract::State;

use crate::Api;
use crate::connection::ClientGone;
use crate::error::{Answer, ApiError};
use crate::extract::{self, Query};
use crate::respond;
use crate::stream::progress;

pub(super) async fn save_many(State(api): State<Api>, query: Query) -> Answer {
    let names: Vec<String> = query.all("names").map(str::to_owned).collect();
    if names.is_empty() {
        return Err(ApiError::bad_request("no image was named"));
    }
    save(&api, &names).await
}

pub(super) async fn save(api: &Api, names: &[String]) -> Answer {
    let tar = api.runtime.save_images(names).await?;
    respond::archive(tar).await
}

pub(super) async fn load(State(api): State<Api>, gone: ClientGone, body: Body) -> Answer {
    let tar = extract::byte_stream(body);
    // Unlike a pull, it always begins its answer well, and fails in the stream.
    progress::respond_in_stream(api.runtime.load_images(tar), &gone).await
}
