//! Failures.

use crate::wire::answer;

answer! {
    /// Why a request failed.
    pub struct ErrorBody {
        /// The kind, for programs: `notFound`, `invalidState`, `routeNotFound` …
        error: String,
        /// The reason, for people.
        message: String,
        /// HTTP's status.
        code: u16,
        /// The request, as `X-Request-Id` names it and the daemon's log does.
        request_id: String,
    }
}
