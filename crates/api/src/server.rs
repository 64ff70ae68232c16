//! The accept loop.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coracle_runtime::Runtime;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::Api;
use crate::config::ServerConfig;
use crate::connection;
use crate::keys::Keys;
use crate::listener::Listener;
use crate::native::History;
use crate::service::Service;

/// How long to wait after an accept failed for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a TLS handshake may take.
const SETUP_LIMIT: Duration = Duration::from_secs(10);

/// Serves the API on any number of listeners. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    service: Arc<Service>,
    places: Arc<Semaphore>,
}

impl Server {
    /// A server of Docker's Engine API over a runtime.
    pub fn new(runtime: Arc<dyn Runtime>, config: ServerConfig) -> Self {
        Self::with_keys(runtime, config, Keys::in_memory())
    }

    /// The same with keys that are kept.
    pub fn with_keys(runtime: Arc<dyn Runtime>, config: ServerConfig, keys: Arc<Keys>) -> Self {
        let places = Arc::new(Semaphore::new(config.max_connections));
        let api = Api {
            history: History::new(config.stats_interval),
            runtime,
            config: Arc::new(config),
            keys,
            metrics: Arc::default(),
            started: Instant::now(),
        };
        Self {
            service: Arc::new(Service::new(api)),
            places,
        }
    }

    /// Serves a listener until `shutdown` resolves; then stops accepting, ends streams, lets requests
    /// come to their end for as long as the configuration allows, and returns.
    pub async fn serve<L: Listener>(
        &self,
        mut listener: L,
        shutdown: impl Future<Output = ()> + Send,
    ) {
        let api = &self.service.api;
        api.history.begin(&api.runtime);
        let drain = CancellationToken::new();
        let abort = CancellationToken::new();
        let connections = TaskTracker::new();
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            let accepted = tokio::select! {
                () = &mut shutdown => break,
                accepted = self.accept(&mut listener) => accepted,
            };
            let Some((setup, peer, place)) = accepted else {
                continue;
            };
            let service = Arc::clone(&self.service);
            let (drain, abort) = (drain.clone(), abort.clone());
            let open = service.api.metrics.open();
            connections.spawn(async move {
                let (_place, _open) = (place, open);
                match tokio::time::timeout(SETUP_LIMIT, setup).await {
                    Ok(Ok((stream, peer))) => {
                        debug!(%peer, "connection accepted");
                        let serve = connection::serve(stream, peer, service, drain);
                        let _ = abort.run_until_cancelled(serve).await;
                    }
                    Ok(Err(error)) => info!(%peer, %error, "connection refused"),
                    Err(_) => info!(%peer, "connection refused: it was not set up in time"),
                }
            });
        }
        drop(listener);
        drain.cancel();
        connections.close();
        let limit = self.service.api.config.drain_limit;
        if tokio::time::timeout(limit, connections.wait())
            .await
            .is_err()
        {
            warn!(
                connections = connections.len(),
                "not all requests ended in time"
            );
            abort.cancel();
            connections.wait().await;
        }
    }

    async fn accept<L: Listener>(
        &self,
        listener: &mut L,
    ) -> Option<(L::Setup, crate::Peer, tokio::sync::OwnedSemaphorePermit)> {
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        match listener.accept().await {
            Ok((setup, peer)) => Some((setup, peer, place)),
            Err(error) => {
                // A client that gave up while queueing is nothing; anything else won't pass at once.
                if !matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionAborted
                        | io::ErrorKind::ConnectionReset
                        | io::ErrorKind::Interrupted
                        | io::ErrorKind::NotConnected
                ) {
                    warn!(%error, "no connection accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                None
            }
        }
    }
}
