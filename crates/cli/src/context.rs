//! What every command is given: the options before the verb, and the client, connected when needed.

use clap::Args;
use coracle_client::{Client, Error as ClientError};
use tokio::sync::OnceCell;

use crate::config::Config;
use crate::error::Result;
use crate::{daemon, host};

/// Options before the verb.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Global {
    /// Daemon to talk to: unix://PATH or tcp://HOST[:PORT] [env: CORACLE_HOST, DOCKER_HOST]
    #[arg(short = 'H', long, value_name = "HOST")]
    pub(crate) host: Option<String>,
    /// Docker context to take the daemon's address from [env: DOCKER_CONTEXT]
    #[arg(short = 'c', long, value_name = "NAME", conflicts_with = "host")]
    pub(crate) context: Option<String>,
    /// Directory of config.json [env: DOCKER_CONFIG] [default: ~/.docker]
    #[arg(long, value_name = "DIR")]
    pub(crate) config: Option<std::path::PathBuf>,
    /// Use TLS, and take any certificate
    #[arg(long)]
    pub(crate) tls: bool,
    /// Use TLS, and check the daemon's certificate [env: DOCKER_TLS_VERIFY]
    #[arg(long)]
    pub(crate) tlsverify: bool,
    /// Who signed the daemon's certificate [default: ca.pem in DOCKER_CERT_PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) tlscacert: Option<std::path::PathBuf>,
    /// Certificate to show [default: cert.pem in DOCKER_CERT_PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) tlscert: Option<std::path::PathBuf>,
    /// Its key [default: key.pem in DOCKER_CERT_PATH]
    #[arg(long, value_name = "FILE")]
    pub(crate) tlskey: Option<std::path::PathBuf>,
}

/// What every command is given.
pub(crate) struct Context {
    global: Global,
    client: OnceCell<Client>,
}

impl Context {
    pub(crate) fn new(global: Global) -> Self {
        Self {
            global,
            client: OnceCell::new(),
        }
    }

    /// The user's Docker configuration.
    pub(crate) fn config(&self) -> Result<Config> {
        Config::load(self.global.config.as_deref())
    }

    /// Where the daemon is.
    pub(crate) fn address(&self) -> Result<host::Address> {
        host::resolve(&self.global)
    }

    /// The client; starts the daemon where it should be at its own place and isn't.
    pub(crate) async fn client(&self) -> Result<&Client> {
        self.client
            .get_or_try_init(async || {
                let address = self.address()?;
                let client = Client::new(address.host.clone(), address.tls.as_ref())?;
                match client.open().await {
                    Ok(()) => Ok(client),
                    Err(error) if error.is_no_daemon() => self.start(address, client, error).await,
                    Err(error) => Err(error.into()),
                }
            })
            .await
    }

    async fn start(
        &self,
        address: host::Address,
        client: Client,
        error: ClientError,
    ) -> Result<Client> {
        let Some(place) = address.place else {
            return Err(error.into());
        };
        daemon::start(&place, &[], &client).await?;
        Ok(client)
    }

    /// The client, where a daemon is there already.
    pub(crate) async fn client_if_up(&self) -> Result<Client, crate::error::Error> {
        let address = self.address()?;
        let client = Client::new(address.host, address.tls.as_ref())?;
        client.open().await?;
        Ok(client)
    }
}
