//! Containers.

mod adapt;
mod archive;
pub(super) mod attach;
mod changes;
pub(crate) mod check;
mod create;
mod inspect;
mod lifecycle;
mod list;
mod logs;
mod selection;
mod stats;
mod wait;

use axum::Router;
use axum::routing::{delete, get, post};
use coracle_runtime::io::TerminalSize;

use crate::Api;
use crate::error::{Answer, ApiError};
use crate::extract::Query;

pub(super) use list::image_name;

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/containers/json", get(list::list))
        .route("/containers/create", post(create::create))
        .route("/containers/prune", post(lifecycle::prune))
        .route("/containers/{name}", delete(lifecycle::remove))
        // What a legacy link is called: the name of the container that has it, and an alias.
        .route("/containers/{name}/{alias}", delete(lifecycle::remove_link))
        .route(
            "/containers/{name}/{alias}/json",
            get(inspect::inspect_link),
        )
        .route("/containers/{name}/json", get(inspect::inspect))
        .route("/containers/{name}/top", get(inspect::top))
        .route("/containers/{name}/logs", get(logs::logs))
        .route("/containers/{name}/changes", get(changes::changes))
        .route("/containers/{name}/export", get(archive::export))
        .route("/containers/{name}/stats", get(stats::stats))
        .route("/containers/{name}/resize", post(lifecycle::resize))
        .route("/containers/{name}/start", post(lifecycle::start))
        .route("/containers/{name}/stop", post(lifecycle::stop))
        .route("/containers/{name}/restart", post(lifecycle::restart))
        .route("/containers/{name}/kill", post(lifecycle::kill))
        .route("/containers/{name}/update", post(lifecycle::update))
        .route("/containers/{name}/rename", post(lifecycle::rename))
        .route("/containers/{name}/pause", post(lifecycle::pause))
        .route("/containers/{name}/unpause", post(lifecycle::unpause))
        .route("/containers/{name}/attach", post(attach::attach))
        .route("/containers/{name}/attach/ws", get(attach::websocket))
        .route("/containers/{name}/wait", post(wait::wait))
        .route(
            "/containers/{name}/archive",
            get(archive::read).head(archive::stat).put(archive::write),
        )
        .route("/commit", post(changes::commit))
}

/// `h` and `w`.
pub(super) fn terminal_size(query: &Query) -> Answer<TerminalSize> {
    let side = |key: &str| {
        let text = query.text(key);
        text.parse::<u16>().map_err(|_| {
            ApiError::bad_request(format!("strconv.Atoi: parsing {text:?}: invalid syntax"))
        })
    };
    Ok(TerminalSize {
        rows: side("h")?,
        cols: side("w")?,
    })
}
