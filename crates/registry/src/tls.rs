//! Which certificates are trusted for which server.
//!
//! Everybody is checked against the system's CAs and those in the server's own folder
//! (`<certs dir>/<host[:port]>/*.crt`); insecure servers are not checked at all.

use std::collections::HashMap;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::OnceLock;
use std::sync::PoisonError;
use std::time::SystemTime;

use tokio_rustls::rustls;

use rustls::CertificateError;
use rustls::ClientConfig;
use rustls::DigitallySignedStruct;
use rustls::RootCertStore;
use rustls::SignatureScheme;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::client::danger::ServerCertVerified;
use rustls::client::danger::ServerCertVerifier;
use rustls::client::verify_server_name;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::ServerName;
use rustls::pki_types::UnixTime;
use rustls::pki_types::pem::PemObject;
use rustls::server::ParsedCertificate;

use crate::hosts::RegistriesConfig;

/// Bytes of a certificate or key file that are read at most.
const FILE_BYTES: u64 = 4 << 20;
/// Servers whose configuration is kept.
const KEPT: usize = 64;

/// The TLS configurations, made when they are needed.
pub(crate) struct Trust {
    registries: Arc<RegistriesConfig>,
    provider: Arc<CryptoProvider>,
    system: OnceLock<Arc<RootCertStore>>,
    strict: OnceLock<Arc<ClientConfig>>,
    made: Mutex<HashMap<String, (Fingerprint, Arc<ClientConfig>)>>,
}

/// What a configuration was made from: it is made again when that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Fingerprint {
    insecure: bool,
    files: Vec<(PathBuf, u64, Option<SystemTime>)>,
}

impl Trust {
    pub(crate) fn new(registries: Arc<RegistriesConfig>) -> Self {
        Self {
            registries,
            provider: Arc::new(rustls::crypto::ring::default_provider()),
            system: OnceLock::new(),
            strict: OnceLock::new(),
            made: Mutex::new(HashMap::new()),
        }
    }

    /// The configuration for `authority` (`host[:port]`). Blocks: it reads files and may look up
    /// names.
    pub(crate) fn config(&self, authority: &str) -> Result<Arc<ClientConfig>, String> {
        let authority = authority.to_ascii_lowercase();
        let print = Fingerprint {
            insecure: self.registries.is_insecure(&authority),
            files: self.files(&authority)?,
        };
        if !print.insecure && print.files.is_empty() {
            if let Some(config) = self.strict.get() {
                return Ok(config.clone());
            }
            let config = Arc::new(self.make(&print)?);
            return Ok(self.strict.get_or_init(|| config).clone());
        }
        {
            let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((known, config)) = made.get(&authority)
                && *known == print
            {
                return Ok(config.clone());
            }
        }
        let config = Arc::new(self.make(&print)?);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.len() >= KEPT {
            made.clear();
        }
        made.insert(authority, (print, config.clone()));
        Ok(config)
    }

    /// The certificate files for `authority`, sorted, of the first folder that has any.
    fn files(&self, authority: &str) -> Result<Vec<(PathBuf, u64, Option<SystemTime>)>, String> {
        let mut names = vec![authority.to_owned()];
        match authority.strip_suffix(":443") {
            Some(host) => names.push(host.to_owned()),
            None if !has_port(authority) => names.push(format!("{authority}:443")),
            None => {}
        }
        for dir in &self.registries.certs_dirs {
            for name in &names {
                if name.contains(['/', '\0']) || name.starts_with('.') {
                    continue;
                }
                let files = list(&dir.join(name))?;
                if !files.is_empty() {
                    return Ok(files);
                }
            }
        }
        Ok(Vec::new())
    }

    fn system(&self) -> Arc<RootCertStore> {
        let load = || {
            let mut roots = RootCertStore::empty();
            let found = rustls_native_certs::load_native_certs();
            for error in &found.errors {
                tracing::warn!(%error, "cannot load a system CA");
            }
            roots.add_parsable_certificates(found.certs);
            Arc::new(roots)
        };
        self.system.get_or_init(load).clone()
    }

    fn make(&self, print: &Fingerprint) -> Result<ClientConfig, String> {
        let mut own = Vec::new();
        let mut identity = None;
        for (path, ..) in &print.files {
            match path.extension().and_then(|e| e.to_str()) {
                Some("crt") => own.extend(certificates(path)?),
                Some("cert") => {
                    let key = path.with_extension("key");
                    if !print.files.iter().any(|(other, ..)| *other == key) {
                        return Err(format!("missing key {} for {}", shown(&key), shown(path)));
                    }
                    identity = Some((certificates(path)?, private_key(&key)?));
                }
                Some("key") => {
                    let cert = path.with_extension("cert");
                    if !print.files.iter().any(|(other, ..)| *other == cert) {
                        return Err(format!(
                            "missing client certificate {} for {}",
                            shown(&cert),
                            shown(path)
                        ));
                    }
                }
                _ => {}
            }
        }
        let verifier: Arc<dyn ServerCertVerifier> = if print.insecure {
            Arc::new(Unchecked(self.provider.clone()))
        } else {
            let mut roots = RootCertStore::clone(&self.system());
            for certificate in &own {
                roots
                    .add(certificate.clone())
                    .map_err(|error| format!("a configured CA is not usable: {error}"))?;
            }
            if roots.is_empty() {
                return Err("no CA certificates found, install ca-certificates".into());
            }
            let inner =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), self.provider.clone())
                    .build()
                    .map_err(|error| error.to_string())?;
            Arc::new(Checked { inner, own })
        };
        let builder = ClientConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match identity {
            Some((chain, key)) => builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("client certificate: {error}"))?,
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

fn has_port(authority: &str) -> bool {
    crate::hosts::host_of(authority).len() < authority.trim_matches(['[', ']']).len()
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn list(dir: &Path) -> Result<Vec<(PathBuf, u64, Option<SystemTime>)>, String> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error)
            if matches!(
                error.kind(),
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(format!("{}: {error}", shown(dir))),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry
            .map_err(|error| format!("{}: {error}", shown(dir)))?
            .path();
        let extension = path.extension().and_then(|e| e.to_str());
        if !matches!(extension, Some("crt" | "cert" | "key")) {
            continue;
        }
        let meta = path
            .metadata()
            .map_err(|error| format!("{}: {error}", shown(&path)))?;
        files.push((path, meta.len(), meta.modified().ok()));
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES).read_to_end(&mut bytes))
        .map_err(|error| format!("{}: {error}", shown(path)))?;
    Ok(bytes)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let bytes = read(path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => Err(format!("{} has no valid PEM certificate", shown(path))),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_slice(&read(path)?)
        .map_err(|_| format!("{} has no valid PEM private key", shown(path)))
}

/// The usual checks, and one more way to pass them: a self-signed server certificate that is
/// itself configured as CA, as `openssl req -x509` makes it. Go accepts these, webpki doesn't.
#[derive(Debug)]
struct Checked {
    inner: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Checked {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let result =
            self.inner
                .verify_server_cert(end_entity, intermediates, server_name, ocsp, now);
        // webpki checks the dates before it finds that the certificate is a CA's.
        let is_ca = match &result {
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(other))) => {
                other.0.to_string().contains("CaUsedAsEndEntity")
            }
            _ => false,
        };
        if is_ca && self.own.iter().any(|own| own == end_entity) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        result
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Accepts anybody: for servers that the operator declared insecure.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
