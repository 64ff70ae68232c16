//! Certificates: which are believed, and which are shown.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use coracle_registry::AuthSource;
use coracle_registry::Client;
use coracle_registry::Error;
use coracle_registry::RegistriesConfig;
use rcgen::BasicConstraints;
use rcgen::CertificateParams;
use rcgen::CertifiedIssuer;
use rcgen::IsCa;
use rcgen::KeyPair;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use crate::client_with;
use crate::registries;

/// A name that the loopback rule doesn't cover, mapped to loopback by a proxy.
const NAME: &str = "registry.example:443";

/// A proxy that takes everybody to one address.
async fn detour(target: SocketAddr) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                let head = String::from_utf8(head).unwrap();
                if !head.contains("Proxy-Authorization: Basic dTpw\r\n") {
                    stream.write_all(b"HTTP/1.1 407 No\r\n\r\n").await?;
                    return Ok(());
                }
                assert!(
                    head.starts_with("CONNECT registry.example:443 HTTP/1.1\r\n"),
                    "{head}"
                );
                stream.write_all(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n").await?;
                let mut other = tokio::net::TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut stream, &mut other)
                    .await
                    .map(|_| ())
            });
        }
    });
    address
}

/// A server that answers every request with an empty tag list. With `clients`, it wants their
/// certificates.
async fn serve(chain: Vec<Vec<u8>>, key: &KeyPair, clients: Option<Vec<u8>>) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(ca.into()).unwrap();
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let chain = chain.into_iter().map(Into::into).collect();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(builder.with_single_cert(chain, key).unwrap()));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await?);
                }
                let body = r#"{"tags":["seen"]}"#;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                );
                stream.write_all(answer.as_bytes()).await?;
                stream.shutdown().await
            });
        }
    });
    address
}

async fn config(server: SocketAddr, certs: &Path) -> RegistriesConfig {
    let proxy = format!("http://u:p@{}", detour(server).await);
    let mut config = registries();
    config.proxies = coracle_registry::Proxies::new(None, Some(&proxy), None);
    config.certs_dirs = vec![certs.to_owned()];
    config
}

async fn tags(client: &Client) -> Result<Vec<String>, Error> {
    let name = crate::reference(&format!("{NAME}/x"));
    client
        .repository(&name, AuthSource::Anonymous)
        .unwrap()
        .tags()
        .await
}

fn params(name: &str) -> CertificateParams {
    CertificateParams::new(vec![name.to_owned()]).unwrap()
}

fn issuer() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn put(certs: &Path, file: &str, text: &str) {
    let dir = certs.join(NAME);
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join(file), text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ca_of_its_own_is_picked_up_without_a_restart() {
    let ca = issuer();
    let key = KeyPair::generate().unwrap();
    let leaf = params("registry.example").signed_by(&key, &ca).unwrap();
    let server = serve(vec![leaf.der().to_vec()], &key, None).await;
    let certs = tempfile::tempdir().unwrap();
    let client = client_with(config(server, certs.path()).await);

    let error = tags(&client).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error}");
    assert!(error.to_string().contains("unknown authority"), "{error}");
    put(certs.path(), "ca.crt", &ca.pem());
    assert_eq!(tags(&client).await.unwrap(), ["seen"]);
    put(certs.path(), "ca.crt", "garbage");
    let error = tags(&client).await.unwrap_err();
    assert!(
        error.to_string().contains("no valid PEM certificate"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn self_signed_certificates_count_only_for_their_name_and_time() {
    let check = async |mut params: CertificateParams, trusted: bool| {
        // As `openssl req -x509` makes them.
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let own = params.self_signed(&key).unwrap();
        let server = serve(vec![own.der().to_vec()], &key, None).await;
        let certs = tempfile::tempdir().unwrap();
        if trusted {
            put(certs.path(), "ca.crt", &own.pem());
        }
        tags(&client_with(config(server, certs.path()).await)).await
    };
    assert_eq!(
        check(params("registry.example"), true).await.unwrap(),
        ["seen"]
    );
    for (params, trusted) in [
        (params("registry.example"), false),
        (params("other.example"), true),
        (
            {
                let mut params = params("registry.example");
                params.not_after = rcgen::date_time_ymd(2001, 1, 1);
                params
            },
            true,
        ),
    ] {
        let error = check(params, trusted).await.unwrap_err();
        assert!(matches!(error, Error::Tls { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn insecure_registries_are_not_checked() {
    let key = KeyPair::generate().unwrap();
    let own = params("other.example").self_signed(&key).unwrap();
    let server = serve(vec![own.der().to_vec()], &key, None).await;
    let certs = tempfile::tempdir().unwrap();
    let mut insecure = config(server, certs.path()).await;
    insecure.add_insecure(NAME).unwrap();
    assert_eq!(tags(&client_with(insecure)).await.unwrap(), ["seen"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn client_certificates() {
    let ca = issuer();
    let key = KeyPair::generate().unwrap();
    let leaf = params("registry.example").signed_by(&key, &ca).unwrap();
    let server = serve(vec![leaf.der().to_vec()], &key, Some(ca.der().to_vec())).await;
    let certs = tempfile::tempdir().unwrap();
    put(certs.path(), "ca.crt", &ca.pem());
    let client = client_with(config(server, certs.path()).await);
    assert!(tags(&client).await.is_err());

    let mine = KeyPair::generate().unwrap();
    let me = params("me").signed_by(&mine, &ca).unwrap();
    put(certs.path(), "client.cert", &me.pem());
    let error = tags(&client).await.unwrap_err();
    assert!(error.to_string().contains("missing key"), "{error}");
    put(certs.path(), "client.key", &mine.serialize_pem());
    assert_eq!(tags(&client).await.unwrap(), ["seen"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_server_is_named_as_such() {
    let plain = crate::fake::Server::start(|_| crate::fake::Reply::new(200, "")).await;
    let certs = tempfile::tempdir().unwrap();
    let client = client_with(config(plain.address, certs.path()).await);
    let error = tags(&client).await.unwrap_err();
    assert!(
        error
            .to_string()
            .contains("server gave HTTP response to HTTPS client"),
        "{error}"
    );
}
