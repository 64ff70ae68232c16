//! One connection to the daemon.

use std::io;
use std::time::Duration;

use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use crate::body::RequestBody;
use crate::error::{Error, Result};
use crate::host::Host;

/// How long a connection over TCP may take to come about, TLS included.
const PATIENCE: Duration = Duration::from_secs(20);

/// Sends requests on a connection, one after the other.
pub(crate) type Sender = http1::SendRequest<RequestBody>;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Opens a connection. It lives in a task of its own until its sender and its answers are dropped.
pub(crate) async fn open(host: &Host, tls: Option<&TlsConnector>) -> Result<Sender> {
    let io: Box<dyn Duplex> = match host {
        Host::Unix(path) => {
            let connected = UnixStream::connect(path).await;
            Box::new(connected.map_err(|source| refused(host, source))?)
        }
        Host::Tcp { name, port, .. } => {
            let opened = tokio::time::timeout(PATIENCE, tcp(name, *port, tls)).await;
            opened
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .map_err(|source| refused(host, source))?
        }
    };
    let (sender, connection) = http1::handshake(TokioIo::new(io)).await?;
    tokio::spawn(async move {
        // The request in hand gets the error; there is nobody else to tell.
        let _ = connection.with_upgrades().await;
    });
    Ok(sender)
}

fn refused(host: &Host, source: io::Error) -> Error {
    Error::Connect {
        host: host.to_string(),
        source,
    }
}

async fn tcp(name: &str, port: u16, tls: Option<&TlsConnector>) -> io::Result<Box<dyn Duplex>> {
    let stream = TcpStream::connect((name, port)).await?;
    stream.set_nodelay(true)?;
    let Some(tls) = tls else {
        return Ok(Box::new(stream));
    };
    let server = ServerName::try_from(name.to_owned())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(Box::new(tls.connect(server, stream).await?))
}
