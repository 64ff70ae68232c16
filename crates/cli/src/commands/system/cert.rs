//! `system cert create`: an authority, made once, and certificates that it signs.
//!
//! A directory of the authority's has `ca.pem` and `ca-key.pem`; one of a certificate's has what
//! `DOCKER_CERT_PATH` wants: `ca.pem`, `cert.pem`, `key.pem`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::{Timestamp, ToSpan, tz::TimeZone};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

use crate::app::Run;
use crate::context::Context;
use crate::error::{Error, Result};
use crate::output::print;

/// The authority's name in certificates. It is always the same, so that its certificate need not be
/// read to sign another.
const AUTHORITY: &str = "Coracle authority";
/// How long the authority holds.
const AUTHORITY_DAYS: u32 = 3650;

#[derive(Args, Debug)]
pub(crate) struct CreateArgs {
    /// Who it is for
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Name or address of the daemon's host; makes it a server's certificate too
    #[arg(long = "server", value_name = "ADDRESS")]
    host: Vec<String>,
    /// Days that it holds
    #[arg(long, value_name = "DAYS", default_value = "365", value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
    /// Directory of the authority, which is made if it is not there
    #[arg(long, value_name = "DIR", default_value = "/etc/coracle/tls")]
    authority: PathBuf,
    /// Directory for the certificate [default: NAME below the authority's]
    #[arg(short = 'o', long, value_name = "DIR")]
    output: Option<PathBuf>,
}

impl Run for CreateArgs {
    async fn run(self, _: &Context) -> Result<u8> {
        let name = self.name.as_str();
        let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.len() > 64 || name.starts_with('.') || !name.chars().all(good) {
            let why = "want 1 to 64 letters, digits, dots, hyphens and underscores";
            return Err(Error::option("--name", name, why));
        }
        let directory = self
            .output
            .clone()
            .unwrap_or_else(|| self.authority.join(name));
        if directory.join("key.pem").exists() {
            return Err(Error::usage(format!(
                "{} has a key already: choose another --output, or remove it",
                directory.display()
            )));
        }
        make_directory(&self.authority)?;
        let (authority, signer) = authority(&self.authority)?;
        let key = KeyPair::generate().map_err(failed)?;
        let mut params = CertificateParams::new(self.host.clone()).map_err(failed)?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if !self.host.is_empty() {
            params
                .extended_key_usages
                .push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        params.use_authority_key_identifier_extension = true;
        valid_for(&mut params, self.days)?;
        let certificate = params.signed_by(&key, &signer).map_err(failed)?;
        make_directory(&directory)?;
        write(&directory.join("ca.pem"), &authority, 0o644)?;
        write(&directory.join("cert.pem"), &certificate.pem(), 0o644)?;
        write(&directory.join("key.pem"), &key.serialize_pem(), 0o600)?;
        print(&format!("{}\n", directory.display()))?;
        Ok(0)
    }
}

fn failed(error: rcgen::Error) -> Error {
    Error::usage(format!("no certificate can be made: {error}"))
}

/// From yesterday, for the sake of clocks, to so many days from now.
fn valid_for(params: &mut CertificateParams, days: u32) -> Result<()> {
    let today = Timestamp::now().to_zoned(TimeZone::UTC).date();
    let date = |days: i64| {
        let date = today
            .checked_add(days.days())
            .map_err(|error| Error::usage(error.to_string()))?;
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        Ok::<_, Error>(date_time_ymd(date.year().into(), month, day))
    };
    params.not_before = date(-1)?;
    params.not_after = date(i64::from(days) + 1)?;
    Ok(())
}

fn authority_params() -> Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, AUTHORITY);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    valid_for(&mut params, AUTHORITY_DAYS)?;
    Ok(params)
}

/// The authority's certificate, and what signs; made where it is not there.
fn authority(directory: &Path) -> Result<(String, Issuer<'static, KeyPair>)> {
    let (certificate, key) = (directory.join("ca.pem"), directory.join("ca-key.pem"));
    let params = authority_params()?;
    if key.exists() {
        let read = |path: &Path| fs::read_to_string(path).map_err(|e| Error::io(path.display(), e));
        let pair = KeyPair::from_pem(&read(&key)?).map_err(failed)?;
        return Ok((read(&certificate)?, Issuer::new(params, pair)));
    }
    let pair = KeyPair::generate().map_err(failed)?;
    let pem = params.self_signed(&pair).map_err(failed)?.pem();
    // The key last: it says that the authority is whole.
    write(&certificate, &pem, 0o644)?;
    write(&key, &pair.serialize_pem(), 0o600)?;
    Ok((pem, Issuer::new(params, pair)))
}

fn make_directory(path: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    let made = builder.recursive(true).mode(0o700).create(path);
    made.map_err(|error| Error::io(path.display(), error))
}

/// Writes a file as a whole.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let staged = path.with_extension("new");
    let written = || -> io::Result<()> {
        let _ = fs::remove_file(&staged);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&staged)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&staged, path)
    };
    written().map_err(|error| Error::io(path.display(), error))
}
