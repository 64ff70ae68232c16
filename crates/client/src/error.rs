//! What goes wrong between a client and the daemon, and what to do about it.

use std::io;
use std::path::PathBuf;

use http::StatusCode;

/// What this crate's functions give.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The daemon refused, or failed: its status and its words.
    #[error("{message}")]
    Api {
        /// HTTP's status.
        status: StatusCode,
        /// The daemon's words.
        message: String,
    },
    /// A long operation ended with an error after it had begun to answer.
    #[error("{message}")]
    Operation {
        /// The daemon's words.
        message: String,
    },
    /// Nobody answers.
    #[error("cannot connect to the daemon at {host}: {source}")]
    Connect {
        /// Where.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// The address makes no sense.
    #[error("invalid host {host:?}: {why}")]
    Host {
        /// What was given.
        host: String,
        /// Why it is none.
        why: String,
    },
    /// A certificate or key can't be used.
    #[error("{path}: {why}", path = path.display())]
    Tls {
        /// The file.
        path: PathBuf,
        /// Why not.
        why: String,
    },
    /// The connection broke, or what came is no HTTP.
    #[error("the connection to the daemon failed: {0}")]
    Http(#[from] hyper::Error),
    /// Reading from or writing to the connection failed.
    #[error("the connection to the daemon failed: {0}")]
    Io(#[from] io::Error),
    /// The answer is not what it should be.
    #[error("the daemon's answer to {request} makes no sense: {why}")]
    Answer {
        /// Method and path.
        request: String,
        /// What is wrong with it.
        why: String,
    },
    /// A request can't be put in HTTP.
    #[error("invalid request: {0}")]
    Request(#[from] http::Error),
}

impl Error {
    /// The daemon's status, where it answered with one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api { status, .. } => Some(status.as_u16()),
            _ => None,
        }
    }

    /// Whether what was asked for isn't there.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Whether it's an image that isn't there: what makes `run` pull.
    pub fn is_no_such_image(&self) -> bool {
        self.is_not_found() && self.to_string().contains("No such image")
    }

    /// Whether nobody listens at the address at all (as opposed to a daemon that fails).
    pub fn is_no_daemon(&self) -> bool {
        matches!(self, Self::Connect { source, .. }
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused))
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Api { status, message } => api_hint(status.as_u16(), message),
            Self::Operation { message } => operation_hint(message),
            Self::Connect { source, .. } => match source.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                    Some("is the daemon running? `coracle system start` starts it")
                }
                io::ErrorKind::PermissionDenied => Some(
                    "the socket belongs to root: use sudo, or join the group that owns the socket",
                ),
                io::ErrorKind::TimedOut => Some("check the address, and that nothing blocks it"),
                _ => None,
            },
            Self::Tls { .. } => {
                Some("ca.pem, cert.pem and key.pem are looked for in DOCKER_CERT_PATH")
            }
            Self::Http(error) if !error.is_parse() && !error.is_user() => Some(GONE),
            Self::Http(error) if error.is_parse() => {
                Some("does the daemon speak TLS? Then use --tlsverify")
            }
            _ => None,
        }
    }
}

/// What to do where the daemon went away.
const GONE: &str =
    "the daemon went away; containers run on, and `coracle ps` shows them when it is back";

fn api_hint(status: u16, message: &str) -> Option<&'static str> {
    let has = |text: &str| message.contains(text);
    match status {
        404 if has("No such image") => {
            Some("`coracle pull NAME` gets an image, `coracle images` lists those that are here")
        }
        404 if has("No such container") => Some("`coracle ps -a` lists all containers"),
        404 if has("network") => Some("`coracle network ls` lists all networks"),
        404 if has("volume") => Some("`coracle volume ls` lists all volumes"),
        409 if has("already in use by container") => {
            Some("remove or rename that container, or choose another --name")
        }
        409 if has("cannot remove container") => {
            Some("stop the container first, or use `coracle rm -f`")
        }
        409 if has("is using its referenced image") || has("is being used by") => {
            Some("remove the container first, or use -f")
        }
        409 if has("volume is in use") => Some("remove the containers that use it first"),
        409 if has("is not running") => Some("`coracle start NAME` starts it"),
        501 => Some("`coracle info` says what this daemon can do"),
        _ if has("port is already allocated") || has("address already in use") => {
            Some("something listens on that port already: publish another one with -p")
        }
        _ => operation_hint(message),
    }
}

fn operation_hint(message: &str) -> Option<&'static str> {
    let has = |text: &str| message.contains(text);
    if has("unauthorized") || has("authentication required") || has("denied: requested access") {
        return Some("`coracle login REGISTRY` keeps a user name and password");
    }
    if has("server gave HTTP response to HTTPS client") || has("insecure-registry") {
        return Some("a registry without TLS must be named to the daemon with --insecure-registry");
    }
    if has("manifest unknown") || has("not found: manifest") {
        return Some("check the image's name and tag");
    }
    if has("no space left on device") {
        return Some("`coracle system df` shows what takes space, `coracle system prune` frees it");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn api(status: u16, message: &str) -> Error {
        Error::Api {
            status: StatusCode::from_u16(status).unwrap(),
            message: message.into(),
        }
    }

    #[test]
    fn hints_say_what_to_do() {
        let hint = |status, message| api(status, message).hint().unwrap_or_default();
        assert!(hint(404, "No such image: a:latest").contains("pull"));
        assert!(hint(404, "No such container: a").contains("ps -a"));
        assert!(hint(500, "Bind for 0.0.0.0:80 failed: port is already allocated").contains("-p"));
        assert!(hint(500, "pull access: unauthorized").contains("login"));
        assert_eq!(hint(500, "boom"), "");
        assert!(api(404, "No such image: x").is_no_such_image());
        assert!(!api(404, "No such container: x").is_no_such_image());
    }

    #[test]
    fn no_daemon_is_told_from_a_failing_one() {
        let connect = |kind: io::ErrorKind| Error::Connect {
            host: "unix:///x".into(),
            source: kind.into(),
        };
        assert!(connect(io::ErrorKind::NotFound).is_no_daemon());
        assert!(connect(io::ErrorKind::ConnectionRefused).is_no_daemon());
        assert!(!connect(io::ErrorKind::PermissionDenied).is_no_daemon());
        assert!(!api(500, "x").is_no_daemon());
    }
}
