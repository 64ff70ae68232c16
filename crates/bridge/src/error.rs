//! What an engine's refusals mean.

use coracle_client::{Error, Host};
use coracle_runtime::RuntimeError;

/// What was asked for, as far as the meaning of a status depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// A new container: 404 is its image (or a network, a volume), 409 a taken name.
    Creation,
    /// A name to give to a container or network: 409 is a taken one.
    Name,
    /// An image: 404 is the image.
    Image,
    /// An archive of images or a root file system, whose faults engines tell in the stream.
    Archive,
    /// A registry: what it says in the stream is its failure.
    Registry,
    /// Anything else: 404 is the thing, 409 its state.
    Thing,
}

/// The kind of an engine's error.
pub(crate) fn kind(about: About, error: Error, host: &Host) -> RuntimeError {
    let text = error.to_string();
    match error {
        Error::Api { status, message } => by_status(about, status.as_u16(), message),
        Error::Operation { message } => in_stream(about, message),
        Error::Connect { .. } => RuntimeError::Unavailable(format!(
            "{text}: is the engine running, and is this its socket?"
        )),
        Error::Http(_) | Error::Io(_) => {
            RuntimeError::Unavailable(format!("the engine at {host}: {text}"))
        }
        Error::Tls { .. } | Error::Host { .. } => RuntimeError::Unavailable(text),
        Error::Answer { .. } => RuntimeError::Backend(format!("the engine at {host}: {text}")),
        Error::Request(_) => RuntimeError::InvalidArgument(text),
    }
}

/// An error in a stream of progress, which has no kind. What a pull or a push dies of is elsewhere; an
/// archive that is not taken is at fault itself.
pub(crate) fn in_stream(about: About, message: String) -> RuntimeError {
    match about {
        About::Archive => RuntimeError::InvalidArgument(message),
        _ => RuntimeError::Backend(message),
    }
}

fn by_status(about: About, status: u16, message: String) -> RuntimeError {
    match status {
        400 | 500 if is_state(&message) => RuntimeError::InvalidState(message),
        404 if is_no_route(&message) => RuntimeError::NotSupported("this request".into()),
        404 => match about {
            About::Image | About::Registry | About::Archive => RuntimeError::ImageNotFound(message),
            About::Creation if is_image(&message) => RuntimeError::ImageNotFound(message),
            About::Creation | About::Name | About::Thing => RuntimeError::NotFound(message),
        },
        409 => match about {
            About::Creation | About::Name => RuntimeError::AlreadyExists(message),
            About::Image | About::Archive | About::Registry | About::Thing => {
                RuntimeError::InvalidState(message)
            }
        },
        401 => RuntimeError::Unauthorized(message),
        403 => RuntimeError::Forbidden(message),
        408 | 504 => RuntimeError::Timeout(message),
        501 => RuntimeError::NotSupported(
            // The kind says the rest itself.
            message
                .trim_end_matches(" is not supported by this runtime")
                .to_owned(),
        ),
        503 => RuntimeError::Unavailable(message),
        405 => RuntimeError::NotSupported("this request".into()),
        400..=499 => RuntimeError::InvalidArgument(message),
        // The engine's own faults, and what no engine answers.
        _ => RuntimeError::Backend(message),
    }
}

/// Whether it is the route that isn't there: dockerd's text, and podman's.
fn is_no_route(message: &str) -> bool {
    matches!(
        message.trim(),
        "page not found" | "404 page not found" | "Not Found"
    )
}

/// Whether it is a container's state that is in the way, where that isn't said by the status: of an exec
/// that meets the container's end (dockerd's text, and Coracle's), and of one that isn't paused.
pub(crate) fn is_state(message: &str) -> bool {
    let of_container = || message.trim_end().rsplit_once("container ");
    message.contains("cannot exec in a stopped")
        || message.ends_with(" is not paused")
        || of_container().is_some_and(|(_, rest)| rest.ends_with(" is not running"))
}

/// Whether a creation's 404 is about the image: dockerd's text, and podman's.
fn is_image(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("no such image") || message.contains("image not known")
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn of(about: About, status: u16, message: &str) -> RuntimeError {
        by_status(about, status, message.into())
    }

    #[test]
    fn every_status_has_its_kind() {
        use RuntimeError as E;
        let text = || "text".to_owned();
        for (about, status, message, kind) in [
            (About::Thing, 404, "text", E::NotFound(text())),
            (About::Image, 404, "text", E::ImageNotFound(text())),
            (About::Creation, 404, "text", E::NotFound(text())),
            (About::Creation, 409, "text", E::AlreadyExists(text())),
            (About::Name, 409, "text", E::AlreadyExists(text())),
            (About::Thing, 409, "text", E::InvalidState(text())),
            (About::Image, 409, "text", E::InvalidState(text())),
            (About::Thing, 400, "text", E::InvalidArgument(text())),
            (
                About::Thing,
                400,
                "cannot exec in a stopped state: unknown",
                E::InvalidState("cannot exec in a stopped state: unknown".into()),
            ),
            (
                About::Thing,
                400,
                "cannot exec: container 1f is not running",
                E::InvalidState("cannot exec: container 1f is not running".into()),
            ),
            (
                About::Thing,
                500,
                "Container x is not paused",
                E::InvalidState("Container x is not paused".into()),
            ),
            (About::Thing, 416, "text", E::InvalidArgument(text())),
            (About::Thing, 401, "text", E::Unauthorized(text())),
            (About::Thing, 403, "text", E::Forbidden(text())),
            (About::Thing, 408, "text", E::Timeout(text())),
            (About::Thing, 501, "text", E::NotSupported(text())),
            (About::Thing, 503, "text", E::Unavailable(text())),
            (About::Thing, 500, "text", E::Backend(text())),
            (About::Thing, 502, "text", E::Backend(text())),
            (About::Thing, 302, "text", E::Backend(text())),
        ] {
            assert_eq!(of(about, status, message), kind, "{about:?} {status}");
        }
        let image = of(About::Creation, 404, "No such image: a:latest");
        assert_eq!(image, E::ImageNotFound("No such image: a:latest".into()));
        assert!(matches!(
            of(About::Thing, 404, "page not found"),
            E::NotSupported(_)
        ));
        assert_eq!(
            of(About::Thing, 501, "build is not supported by this runtime"),
            E::NotSupported("build".into())
        );
    }

    #[test]
    fn no_engine_is_told_with_its_address() {
        let error = Error::Connect {
            host: "unix:///nowhere".into(),
            source: io::ErrorKind::NotFound.into(),
        };
        let error = kind(About::Thing, error, &Host::Unix("/nowhere".into()));
        assert_eq!(error.status(), 503);
        let text = error.to_string();
        assert!(
            text.contains("unix:///nowhere") && text.contains("socket"),
            "{text}"
        );
    }
}
