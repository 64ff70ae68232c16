//! Tokens, logins, and who gets to see which credentials.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_registry::AuthSource;
use coracle_registry::Credentials;
use coracle_registry::DockerConfig;
use coracle_registry::Error;
use coracle_registry::PullOptions;

use crate::TestStore;
use crate::client;
use crate::fake::Content;
use crate::fake::Reply;
use crate::fake::Seen;
use crate::fake::Server;
use crate::image::Image;
use crate::reference;

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// A token server: `me`/`secret` and the refresh token `long-lived` are good. Tokens are numbered.
async fn token_server(extra: &'static str) -> Server {
    let count = AtomicUsize::new(0);
    Server::start(move |seen| {
        let form = String::from_utf8_lossy(&seen.body).into_owned();
        let known = match seen.method.as_str() {
            "POST" => form.contains("refresh_token=long-lived"),
            _ => seen
                .header("authorization")
                .is_none_or(|h| h == basic("me", "secret")),
        };
        if !known {
            return Reply::new(401, r#"{"details":"incorrect username or password"}"#);
        }
        let number = count.fetch_add(1, Ordering::SeqCst);
        Reply::new(200, format!(r#"{{"token":"t{number}"{extra}}}"#))
    })
    .await
}

/// A registry that wants a token; `good` says whether it takes one.
async fn guarded(
    image: &Image,
    realm: String,
    good: impl Fn(&Seen, &str) -> bool + Send + Sync + 'static,
) -> Server {
    let content = Content::of(&[("v", image)]);
    Server::start(move |seen| {
        let token = seen
            .header("authorization")
            .and_then(|h| h.strip_prefix("Bearer "));
        if token.is_some_and(|token| good(seen, token)) {
            return content.answer(seen);
        }
        let error = token.map_or("", |_| r#",error="insufficient_scope""#);
        let challenge = format!(
            r#"Bearer realm="{realm}",service="the registry",scope="repository:x:pull"{error}"#
        );
        Reply::error(401, "UNAUTHORIZED").header("WWW-Authenticate", challenge)
    })
    .await
}

async fn pull(server: &Server, auth: AuthSource) -> Result<(), Error> {
    let here = TestStore::new();
    let name = reference(&format!("{}/x:v", server.address));
    let options = PullOptions {
        auth,
        ..PullOptions::default()
    };
    here.puller(&client())
        .pull(&name, options)
        .await
        .map(|_| ())
}

#[tokio::test(flavor = "multi_thread")]
async fn anonymous_tokens() {
    let image = Image::new(1, &[10, 20, 30]);
    let tokens = token_server("").await;
    let server = guarded(&image, tokens.url("/token"), |_, token| token == "t0").await;
    pull(&server, AuthSource::Anonymous).await.unwrap();
    // One token serves for all requests of the pull.
    let asked = tokens.seen();
    assert_eq!(asked.len(), 1);
    assert_eq!(
        asked[0].path,
        "/token?service=the%20registry&scope=repository%3Ax%3Apull"
    );
    assert_eq!(asked[0].header("authorization"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_identity_tokens() {
    let image = Image::new(2, &[10]);
    let tokens = token_server("").await;
    let server = guarded(&image, tokens.url("/token"), |_, _| true).await;

    pull(
        &server,
        AuthSource::Given(Credentials::basic("me", "secret")),
    )
    .await
    .unwrap();
    let seen = tokens.seen().pop().unwrap();
    assert_eq!(
        seen.header("authorization"),
        Some(basic("me", "secret").as_str())
    );
    assert!(seen.path.contains("account=me"));

    pull(
        &server,
        AuthSource::Given(Credentials::identity("long-lived")),
    )
    .await
    .unwrap();
    let seen = tokens.seen().pop().unwrap();
    assert_eq!(seen.method, "POST");
    let form = String::from_utf8(seen.body).unwrap();
    assert!(form.contains("grant_type=refresh_token"), "{form}");
    assert!(form.contains("scope=repository%3Ax%3Apull"), "{form}");

    let wrong = AuthSource::Given(Credentials::basic("me", "wrong"));
    let error = pull(&server, wrong).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "unauthorized: incorrect username or password"
    );
    let wrong = AuthSource::Given(Credentials::identity("revoked"));
    assert!(matches!(
        pull(&server, wrong).await.unwrap_err(),
        Error::Unauthorized { .. }
    ));

    // A ready token goes to the registry itself, and to nobody else.
    let before = tokens.seen().len();
    let ready = Credentials {
        registry_token: "ready".into(),
        ..Credentials::default()
    };
    pull(&server, AuthSource::Given(ready)).await.unwrap();
    assert_eq!(tokens.seen().len(), before);
    assert!(
        server
            .seen()
            .iter()
            .any(|s| s.header("authorization") == Some("Bearer ready"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_that_expire_midway_are_renewed() {
    let image = Image::new(3, &[10, 20, 30, 40]);
    let tokens = token_server(r#","expires_in":1"#).await;
    let uses = AtomicUsize::new(0);
    // Each token is good for two requests.
    let server = guarded(&image, tokens.url("/token"), move |_, token| {
        let number: usize = token.trim_start_matches('t').parse().unwrap();
        let used = uses.load(Ordering::SeqCst);
        if number == used / 2 {
            uses.fetch_add(1, Ordering::SeqCst);
        }
        number == used / 2
    })
    .await;
    let here = TestStore::new();
    let name = reference(&format!("{}/x:v", server.address));
    let puller = coracle_registry::Puller::new(client(), here.store.clone(), 1);
    puller.pull(&name, PullOptions::default()).await.unwrap();
    assert!(tokens.seen().len() >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_in_dockers_words() {
    let image = Image::new(4, &[10]);
    let tokens = token_server("").await;
    let server = guarded(&image, tokens.url("/token"), |_, _| false).await;
    let error = pull(&server, AuthSource::Anonymous).await.unwrap_err();
    let name = format!("{}/x", server.address);
    assert_eq!(
        error.to_string(),
        format!(
            "pull access denied for {name}, repository does not exist or may require \
             'docker login': denied: requested access to the resource is denied"
        )
    );
    // Not asked forever.
    assert!(server.seen().len() <= 4, "{}", server.seen().len());

    let server = Server::start(|_| {
        Reply::error(401, "UNAUTHORIZED").header("WWW-Authenticate", "Basic realm=\"x\"")
    })
    .await;
    let error = pull(&server, AuthSource::Anonymous).await.unwrap_err();
    assert_eq!(error.to_string(), "unauthorized: no basic auth credentials");
    let wrong = AuthSource::Given(Credentials::basic("me", "wrong"));
    let error = pull(&server, wrong).await.unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_token_servers() {
    let image = Image::new(5, &[10]);
    for answer in [
        "",
        "{}",
        "[]",
        r#"{"token":""}"#,
        r#"{"token":7}"#,
        r#"{"token":"a\nb"}"#,
        r#"{"token":"t","expires_in":"soon"}"#,
    ] {
        let tokens = Server::start(move |_| Reply::new(200, answer)).await;
        let server = guarded(&image, tokens.url("/"), |_, _| true).await;
        let error = pull(&server, AuthSource::Anonymous).await.unwrap_err();
        assert!(
            matches!(error, Error::Protocol { .. } | Error::Credentials { .. }),
            "{answer}: {error}"
        );
    }
    for expires in ["-5", "1e308", "0", "null"] {
        let text = format!(r#"{{"access_token":"t","expires_in":{expires}}}"#);
        let tokens = Server::start(move |_| Reply::new(200, text.clone())).await;
        let server = guarded(&image, tokens.url("/"), |_, _| true).await;
        pull(&server, AuthSource::Anonymous).await.unwrap();
    }
    for realm in [
        "",
        "/token",
        "ftp://x/",
        "file:///etc/passwd",
        "http://u:p@127.0.0.1/",
    ] {
        let server = guarded(&image, realm.to_owned(), |_, _| true).await;
        let error = pull(
            &server,
            AuthSource::Given(Credentials::basic("me", "secret")),
        );
        let error = error.await.unwrap_err();
        assert!(
            matches!(error, Error::Protocol { .. } | Error::Unauthorized { .. }),
            "{realm}: {error}"
        );
    }
    // A token server that sends us on doesn't make us tell others the password.
    let other = Server::start(|_| Reply::new(200, r#"{"token":"t"}"#)).await;
    let target = other.url("/");
    let tokens =
        Server::start(move |_| Reply::new(307, "").header("Location", target.clone())).await;
    let server = guarded(&image, tokens.url("/"), |_, _| true).await;
    pull(
        &server,
        AuthSource::Given(Credentials::basic("me", "secret")),
    )
    .await
    .unwrap();
    assert_eq!(other.seen()[0].header("authorization"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn logins() {
    let tokens = token_server(r#","refresh_token":"long-lived""#).await;
    let server = guarded(&Image::new(6, &[]), tokens.url("/token"), |_, _| true).await;
    let client = client();
    let address = server.address.to_string();
    let status = client
        .login(&address, &Credentials::basic("me", "secret"))
        .await
        .unwrap();
    assert_eq!(status.identity_token.as_deref(), Some("long-lived"));
    assert!(tokens.seen()[0].path.contains("offline_token=true"));
    let error = client
        .login(&address, &Credentials::basic("me", "no"))
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");

    let plain = Server::start(|seen| {
        if seen.header("authorization") == Some(basic("me", "secret").as_str()) {
            return Reply::new(200, "{}");
        }
        Reply::error(401, "UNAUTHORIZED").header("WWW-Authenticate", "Basic realm=\"x\"")
    })
    .await;
    let url = plain.url("/v2/");
    let status = client
        .login(&url, &Credentials::basic("me", "secret"))
        .await
        .unwrap();
    assert_eq!(status.identity_token, None);
    let error = client
        .login(&url, &Credentials::basic("me", "no"))
        .await
        .unwrap_err();
    assert!(error.to_string().starts_with("unauthorized: "), "{error}");

    let open = Server::start(|_| Reply::new(200, "{}")).await;
    client
        .login(&open.address.to_string(), &Credentials::basic("a", "b"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_file_serves_pulls() {
    let image = Image::new(7, &[10]);
    let tokens = token_server("").await;
    let server = guarded(&image, tokens.url("/token"), |_, _| true).await;
    let dir = tempfile::tempdir().unwrap();
    let mut config = DockerConfig::load_from(&dir.path().join("config.json")).unwrap();
    let address = server.address.to_string();
    config
        .store_login(&address, &Credentials::basic("me", "secret"))
        .await
        .unwrap();
    pull(&server, AuthSource::Config(Arc::new(config)))
        .await
        .unwrap();
    assert!(tokens.seen()[0].path.contains("account=me"));
}
