//! Connections: TCP, through a proxy where one is set, with TLS where the scheme asks for it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use hyper::rt::Read;
use hyper::rt::ReadBufCursor;
use hyper::rt::Write;
use hyper_util::client::legacy::connect::Connected;
use hyper_util::client::legacy::connect::Connection;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::ServerName;
use tower_service::Service;

use crate::hosts::RegistriesConfig;
use crate::hosts::host_of;
use crate::location;
use crate::tls::Trust;

/// Why there is no connection; [`crate::transport`] makes an [`crate::Error`] of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("{0}")]
    Tcp(String),
    #[error("{0}")]
    Tls(String),
    #[error("{0}")]
    Config(String),
    #[error("timed out")]
    Timeout,
}

/// Makes the connections of the transport's pool.
#[derive(Clone)]
pub(crate) struct Connector {
    tcp: HttpConnector,
    registries: Arc<RegistriesConfig>,
    trust: Arc<Trust>,
    timeout: Duration,
}

impl Connector {
    pub(crate) fn new(registries: Arc<RegistriesConfig>, timeout: Duration) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(Duration::from_secs(30)));
        tcp.set_connect_timeout(Some(timeout));
        let trust = Arc::new(Trust::new(registries.clone()));
        Self {
            tcp,
            registries,
            trust,
            timeout,
        }
    }

    async fn connect(mut self, uri: Uri) -> Result<Stream, ConnectError> {
        let proxy = self
            .registries
            .proxies
            .choose(&uri)
            .map_err(|error| ConnectError::Config(error.to_string()))?
            .cloned();
        let first_hop = proxy.as_ref().map_or(&uri, |proxy| &proxy.uri).clone();
        let mut stream = self
            .tcp
            .call(first_hop)
            .await
            .map_err(|error| tcp_error(&error))?
            .into_inner();
        if uri.scheme() != Some(&Scheme::HTTPS) {
            return Ok(Stream::Plain {
                io: TokioIo::new(stream),
                proxied: proxy.is_some(),
            });
        }
        if let Some(proxy) = &proxy {
            proxy
                .connect(&mut stream, &uri)
                .await
                .map_err(ConnectError::Tcp)?;
        }
        let trust = self.trust.clone();
        let authority = location::host(&uri);
        let config = tokio::task::spawn_blocking(move || trust.config(&authority))
            .await
            .map_err(|error| ConnectError::Config(error.to_string()))?
            .map_err(ConnectError::Tls)?;
        let host = uri.host().map(host_of).unwrap_or_default().to_owned();
        let name = ServerName::try_from(host)
            .map_err(|_| ConnectError::Tls("not a valid server name".into()))?;
        let tls = TlsConnector::from(config)
            .connect(name, stream)
            .await
            .map_err(|error| ConnectError::Tls(tls_text(&error)))?;
        Ok(Stream::Tls(Box::new(TokioIo::new(tls))))
    }
}

fn tcp_error(error: &dyn std::error::Error) -> ConnectError {
    // The innermost text is the system's, but Docker's users know Go's.
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    if text.starts_with("failed to lookup address information") {
        return ConnectError::Tcp("no such host".into());
    }
    let text = text.split(" (os error").next().unwrap_or_default();
    ConnectError::Tcp(text.to_lowercase())
}

fn tls_text(error: &io::Error) -> String {
    let inner = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            "server gave HTTP response to HTTPS client".into()
        }
        Some(rustls::Error::InvalidCertificate(reason)) => match reason {
            rustls::CertificateError::UnknownIssuer => "certificate signed by unknown authority: \
                 put the CA into /etc/docker/certs.d/<host:port>/ca.crt"
                .into(),
            reason => format!("invalid certificate: {reason}"),
        },
        Some(other) => other.to_string(),
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the server closed the connection during the handshake".into()
        }
        None => error.to_string(),
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let limit = this.timeout;
            tokio::time::timeout(limit, this.connect(uri))
                .await
                .unwrap_or(Err(ConnectError::Timeout))
        })
    }
}

/// A connection to a server or to a plain HTTP proxy.
pub(crate) enum Stream {
    Plain {
        io: TokioIo<TcpStream>,
        proxied: bool,
    },
    Tls(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        match self {
            Self::Plain { proxied, .. } => Connected::new().proxy(*proxied),
            Self::Tls(_) => Connected::new(),
        }
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { io, .. } => Pin::new(io).poll_read(cx, buf),
            Self::Tls(io) => Pin::new(io.as_mut()).poll_read(cx, buf),
        }
    }
}

impl Write for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain { io, .. } => Pin::new(io).poll_write(cx, buf),
            Self::Tls(io) => Pin::new(io.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { io, .. } => Pin::new(io).poll_flush(cx),
            Self::Tls(io) => Pin::new(io.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain { io, .. } => Pin::new(io).poll_shutdown(cx),
            Self::Tls(io) => Pin::new(io.as_mut()).poll_shutdown(cx),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain { io, .. } => io.is_write_vectored(),
            Self::Tls(io) => io.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain { io, .. } => Pin::new(io).poll_write_vectored(cx, bufs),
            Self::Tls(io) => Pin::new(io.as_mut()).poll_write_vectored(cx, bufs),
        }
    }
}
