//! `login` and `logout`.

use std::io::Read;

use clap::Args;
use coracle_docker::auth::AuthConfig;
use coracle_registry::Credentials;

use super::prompt::{question, secret};
use crate::app::Run;
use crate::config::registry;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::{print, warn};

/// Most bytes of a password.
const MAX_PASSWORD: u64 = 64 * 1024;
/// Docker's own registry, as it is called in configuration files.
const DOCKER: &str = "https://index.docker.io/v1/";

#[derive(Args, Debug)]
pub(crate) struct LoginArgs {
    /// Password; seen by everyone who sees processes
    #[arg(short = 'p', long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long, conflicts_with = "password")]
    password_stdin: bool,
    /// User name
    #[arg(short = 'u', long, value_name = "NAME")]
    username: Option<String>,
    /// Registry; Docker Hub where none is named
    server: Option<String>,
}

impl Run for LoginArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let mut config = context.config()?;
        let server = self.server.as_deref().unwrap_or(DOCKER);
        let (username, password) = self.ask()?;
        let auth = AuthConfig {
            username: username.clone(),
            password: password.clone(),
            server_address: server.to_owned(),
            ..AuthConfig::default()
        };
        let answer = context.client().await?.registry_login(&auth).await?;
        let mut credentials = Credentials::basic(username, password);
        if !answer.identity_token.is_empty() {
            credentials.password.clear();
            credentials.identity_token = answer.identity_token;
        }
        let helped = config.0.field("credsStore").is_some();
        config
            .0
            .store_login(server, &credentials)
            .await
            .map_err(registry)?;
        if !helped {
            warn(format_args!(
                "WARNING! Your credentials are stored unencrypted in '{}'.",
                config.0.path().display()
            ));
        }
        print(&format!("{}\n", answer.status))?;
        Ok(0)
    }
}

impl LoginArgs {
    fn ask(&self) -> Result<(String, String)> {
        if self.password_stdin && self.username.is_none() {
            return Err(Error::advice(
                "must provide --username with --password-stdin",
                "coracle login -u NAME --password-stdin REGISTRY",
            ));
        }
        if self.password.is_some() {
            warn("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
        }
        let username = match &self.username {
            Some(name) => name.clone(),
            None => question("Username: ")?,
        };
        let password = match &self.password {
            Some(password) => password.clone(),
            None if self.password_stdin => from_stdin()?,
            None => secret("Password: ")?,
        };
        if username.is_empty() || password.is_empty() {
            return Err(Error::usage("a user name and a password are required"));
        }
        Ok((username, password))
    }
}

fn from_stdin() -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .take(MAX_PASSWORD)
        .read_to_string(&mut text)
        .map_err(|error| Error::io("standard input", error))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

#[derive(Args, Debug)]
pub(crate) struct LogoutArgs {
    /// Registry; Docker Hub where none is named
    server: Option<String>,
}

impl Run for LogoutArgs {
    async fn run(self, context: &Context) -> Result<u8> {
        let mut config = context.config()?;
        let server = self.server.as_deref().unwrap_or(DOCKER);
        if config.0.erase_login(server).await.map_err(registry)? {
            print(&format!("Removing login credentials for {server}\n"))?;
        } else {
            print(&format!("Not logged in to {server}\n"))?;
        }
        Ok(0)
    }
}
