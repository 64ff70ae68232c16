//! TLS on TCP sockets.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use coracle_api::{Listener, Peer};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::error::Error;
use crate::settings::Settings;

/// What serves TLS, where TLS is asked for. With `tlsverify`, only clients with a certificate that
/// the authority signed get through.
pub(crate) fn acceptor(settings: &Settings) -> Result<Option<TlsAcceptor>, Error> {
    let verify = settings.tlsverify == Some(true);
    if !verify && settings.tls != Some(true) {
        return Ok(None);
    }
    let missing = |setting| Error::setting(setting, "TLS needs it");
    let cert = settings
        .tlscert
        .as_deref()
        .ok_or_else(|| missing("--tlscert"))?;
    let key = settings
        .tlskey
        .as_deref()
        .ok_or_else(|| missing("--tlskey"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::setting("--tls", error))?;
    let authority = settings.tlscacert.as_deref();
    if verify && authority.is_none() {
        return Err(missing("--tlscacert"));
    }
    let builder = if let Some(authority) = authority {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(authority, "--tlscacert")? {
            roots
                .add(certificate)
                .map_err(|error| Error::setting("--tlscacert", error))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        // Without tlsverify a client may come without a certificate; then it needs a key, once there
        // are keys.
        let verifier = if verify {
            verifier
        } else {
            verifier.allow_unauthenticated()
        };
        let verifier = verifier
            .build()
            .map_err(|error| Error::setting("--tlscacert", error))?;
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let key = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| Error::setting("--tlskey", format!("{}: {error}", key.display())))?;
    let config = builder
        .with_single_cert(certificates(cert, "--tlscert")?, key)
        .map_err(|error| Error::setting("--tlscert", error))?;
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

fn certificates(path: &Path, setting: &'static str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let invalid = |error: &dyn std::fmt::Display| {
        Error::setting(setting, format!("{}: {error}", path.display()))
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| invalid(&error))?
        .collect::<Result<_, _>>()
        .map_err(|error| invalid(&error))?;
    if certificates.is_empty() {
        Err(invalid(&"it has no certificate"))
    } else {
        Ok(certificates)
    }
}

/// A TCP socket that speaks TLS.
pub(crate) struct TlsListener {
    pub(crate) inner: TcpListener,
    pub(crate) acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Stream = TlsStream<TcpStream>;
    type Setup = Pin<Box<dyn Future<Output = io::Result<(Self::Stream, Peer)>> + Send>>;

    async fn accept(&mut self) -> io::Result<(Self::Setup, Peer)> {
        let (stream, address) = self.inner.accept().await?;
        stream.set_nodelay(true)?;
        let handshake = self.acceptor.accept(stream);
        let setup = async move {
            let stream = handshake.await?;
            // Only certificates that the authority signed get here.
            let shown = stream.get_ref().1.peer_certificates();
            let client = shown
                .and_then(|chain| chain.first())
                .map(|_| "client certificate".to_owned());
            Ok((stream, Peer::Tls { address, client }))
        };
        Ok((Box::pin(setup), Peer::Tcp(address)))
    }
}
