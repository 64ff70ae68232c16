//! Questions that others answer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hickory_proto::op::ResponseCode;
use tokio::time::Instant;

use crate::exchange::exchange;
use crate::question::{self, Transport};
use crate::resolvers::Resolvers;
use crate::table::Upstream;

/// All tries together: a resolver that asks us gives up after five seconds (resolv.conf(5)).
const PATIENCE: Duration = Duration::from_millis(4500);
/// One try, while there are others.
const TRY: Duration = Duration::from_millis(1500);
const ROUNDS: usize = 2;

#[derive(Debug)]
pub(crate) struct Forwarder {
    resolvers: Resolvers,
    /// Instead of the host's.
    fixed: Option<Arc<[SocketAddr]>>,
    /// Which of the host's answered last, so that a dead one is waited for only once.
    good: AtomicUsize,
}

impl Forwarder {
    pub(crate) fn new(resolv_conf: PathBuf, fixed: Option<Vec<SocketAddr>>) -> Self {
        Self {
            resolvers: Resolvers::new(resolv_conf),
            fixed: fixed.map(Into::into),
            good: AtomicUsize::new(0),
        }
    }

    /// Has others answer; a failure of the server where nobody does.
    pub(crate) async fn forward(
        &self,
        query: &[u8],
        upstream: Upstream,
        transport: Transport,
        own: impl Fn(SocketAddr) -> bool,
    ) -> Option<Vec<u8>> {
        let (servers, shared): (Arc<[SocketAddr]>, bool) = match (upstream, &self.fixed) {
            (Upstream::Host, Some(fixed)) => (fixed.clone(), true),
            (Upstream::Host, None) => (self.resolvers.servers(), true),
            (Upstream::These(servers), _) => (servers.into(), false),
            (Upstream::Nobody, _) => (Arc::new([]), false),
        };
        let first = if shared {
            self.good.load(Ordering::Relaxed)
        } else {
            0
        };
        let end = Instant::now() + PATIENCE;
        let mut failure = None;
        'asking: for _ in 0..ROUNDS {
            for turn in 0..servers.len() {
                let index = (first + turn) % servers.len();
                // Nor ourselves: that would go around.
                let Some(server) = servers.get(index).copied().filter(|ip| !own(*ip)) else {
                    continue;
                };
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break 'asking;
                }
                match exchange(query, server, transport, left.min(TRY)).await {
                    Ok(reply) if is_final(&reply) => {
                        if shared {
                            self.good.store(index, Ordering::Relaxed);
                        }
                        return Some(fitting(query, reply, transport));
                    }
                    Ok(reply) => failure = Some(reply),
                    Err(error) => tracing::debug!(%server, %error, "a resolver does not answer"),
                }
            }
            if failure.is_some() {
                break;
            }
        }
        match failure {
            Some(reply) => Some(fitting(query, reply, transport)),
            None => question::bare(query, ResponseCode::ServFail.low(), false),
        }
    }
}

/// Whether another server would hardly know better.
fn is_final(reply: &[u8]) -> bool {
    let code = |code: ResponseCode| Some(code.low());
    let given = question::code(reply);
    ![
        code(ResponseCode::ServFail),
        code(ResponseCode::NotImp),
        code(ResponseCode::Refused),
    ]
    .contains(&given)
}

/// The answer, or the word to ask again by TCP where it is longer than whoever asks takes.
fn fitting(query: &[u8], reply: Vec<u8>, transport: Transport) -> Vec<u8> {
    if transport == Transport::Tcp || reply.len() <= Transport::limit(query) {
        return reply;
    }
    let code = question::code(&reply).unwrap_or_default();
    question::bare(query, code, true).unwrap_or_default()
}
