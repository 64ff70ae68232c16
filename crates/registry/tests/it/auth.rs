//! Tokens, logins, helpers, and who gets to see which credentials.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_registry::AuthSource;
use coracle_registry::Credentials;
use coracle_registry::DockerConfig;
use coracle_registry::Error;
use coracle_registry::Helper;
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

fn script(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs the tests that need helpers in one process with their folder on the PATH: setting it in
/// this one would disturb its threads.
#[test]
fn helpers() {
    if std::env::var_os("CORACLE_TEST_HELPERS").is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    script(
        dir.path(),
        "docker-credential-good",
        r#"#!/bin/sh
cd "$(dirname "$0")"
case $1 in
get) read -r server || true
  case $server in
  http*://index.docker.io/v1/) echo '{"ServerURL":"x","Username":"<token>","Secret":"long-lived"}';;
  r.example:5000) echo '{"ServerURL":"x","Username":"me","Secret":"secret"}';;
  *) echo 'credentials not found in native keychain'; exit 1;;
  esac;;
store) cat > stored;;
erase) cat > erased;;
list) echo '{"r.example:5000":"me"}';;
esac
"#,
    );
    script(
        dir.path(),
        "docker-credential-loud",
        "#!/bin/sh\nexec cat /dev/zero\n",
    );
    script(
        dir.path(),
        "docker-credential-bad",
        "#!/bin/sh\necho secret-in-output\n",
    );
    script(
        dir.path(),
        "docker-credential-fail",
        "#!/bin/sh\necho 'the vault is locked'\nexit 3\n",
    );
    let path = std::env::var("PATH").unwrap_or_default();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "auth::within_helpers_path",
            "--ignored",
            "--nocapture",
        ])
        .env("PATH", format!("{}:{path}", dir.path().display()))
        .env("CORACLE_TEST_HELPERS", dir.path())
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[tokio::test]
#[ignore = "started by the test `helpers`"]
async fn within_helpers_path() {
    let dir = std::env::var_os("CORACLE_TEST_HELPERS").unwrap();
    let dir = Path::new(&dir);
    let good = Helper::new("good").unwrap();
    let found = good.get("r.example:5000").await.unwrap().unwrap();
    assert_eq!(
        (found.username.as_str(), found.password.as_str()),
        ("me", "secret")
    );
    assert_eq!(good.get("unknown.example").await.unwrap(), None);
    let hub = good
        .get("https://index.docker.io/v1/")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (hub.identity_token.as_str(), hub.username.as_str()),
        ("long-lived", "")
    );
    good.store("r.example", &Credentials::basic("me", "a\"b"))
        .await
        .unwrap();
    assert_eq!(
        std::fs::read_to_string(dir.join("stored")).unwrap(),
        r#"{"ServerURL":"r.example","Username":"me","Secret":"a\"b"}"#
    );
    assert_eq!(good.list().await.unwrap()["r.example:5000"], "me");

    for (name, says) in [
        ("loud", "too long"),
        ("bad", "not valid"),
        ("fail", "the vault is locked"),
        ("absent", "No such file"),
    ] {
        let error = Helper::new(name)
            .unwrap()
            .get("r.example")
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{name}: {error}");
        assert!(!error.contains("secret-in-output"));
    }
    for name in ["", "../x", "a/b", "a b", "x\0"] {
        assert!(Helper::new(name).is_err(), "{name}");
    }

    let file = dir.join("config.json");
    let text = r#"{"credsStore":"fail","credHelpers":{"r.example:5000":"good"},"auths":{}}"#;
    std::fs::write(&file, text).unwrap();
    let mut config = DockerConfig::load_from(&file).unwrap();
    assert_eq!(
        config
            .credentials("r.example:5000")
            .await
            .unwrap()
            .unwrap()
            .username,
        "me"
    );
    assert!(config.credentials("other.example").await.is_err());
    config
        .store_login("r.example:5000", &Credentials::basic("me", "top"))
        .await
        .unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(
        text.contains("r.example:5000") && !text.contains("top"),
        "{text}"
    );
    assert!(!text.contains(&STANDARD.encode("me:top")), "{text}");
    config.erase_login("r.example:5000").await.unwrap();
    assert_eq!(
        std::fs::read_to_string(dir.join("erased")).unwrap(),
        "r.example:5000"
    );
}

#[tokio::test]
async fn the_configuration_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/config.json");
    let mut config = DockerConfig::load_from(&path).unwrap();
    assert_eq!(config.credentials("docker.io").await.unwrap(), None);
    config
        .store_login("docker.io", &Credentials::basic("me", "secret"))
        .await
        .unwrap();
    let mut with_token = Credentials::identity("long-lived");
    with_token.username = "me".into();
    config
        .store_login("https://r.example/v2/", &with_token)
        .await
        .unwrap();
    assert_eq!(
        std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );

    let again = DockerConfig::load_from(&path).unwrap();
    let hub = again.credentials("docker.io").await.unwrap().unwrap();
    assert_eq!(
        (hub.username.as_str(), hub.password.as_str()),
        ("me", "secret")
    );
    let other = again.credentials("r.example").await.unwrap().unwrap();
    assert_eq!(other.identity_token, "long-lived");
    assert_eq!(again.credentials("s.example").await.unwrap(), None);
    assert_eq!(again.logins().await.unwrap().len(), 2);
    assert!(!format!("{again:?}").contains("long-lived"));

    // What others wrote stays, and their spellings are understood.
    let encoded = STANDARD.encode("you:pw");
    let text = format!(
        r#"{{"detachKeys":"ctrl-x","auths":{{"https://r.example":{{"auth":"{encoded}","email":"e"}}}}}}"#
    );
    std::fs::write(&path, &text).unwrap();
    let link = dir.path().join("link.json");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let mut config = DockerConfig::load_from(&link).unwrap();
    assert_eq!(
        config
            .credentials("r.example")
            .await
            .unwrap()
            .unwrap()
            .username,
        "you"
    );
    config
        .store_login("s.example", &Credentials::basic("me", "x"))
        .await
        .unwrap();
    assert!(config.erase_login("r.example").await.unwrap());
    assert!(!config.erase_login("r.example").await.unwrap());
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("ctrl-x") && text.contains("s.example"),
        "{text}"
    );
    assert!(!text.contains("r.example"));

    for bad in ["{", "[]", "7", r#"{"auths": {"x": {"auth": "secret"}} "#] {
        std::fs::write(&path, bad).unwrap();
        let error = DockerConfig::load_from(&path).unwrap_err().to_string();
        assert!(
            error.contains("not valid JSON") && !error.contains("secret"),
            "{error}"
        );
    }
    for odd in [
        "",
        r#"{"auths":7}"#,
        r#"{"auths":{"r.example":7}}"#,
        r#"{"auths":{"r.example":{"auth":"!"}}}"#,
    ] {
        std::fs::write(&path, odd).unwrap();
        let config = DockerConfig::load_from(&path).unwrap();
        assert_eq!(
            config.credentials("r.example").await.unwrap(),
            None,
            "{odd}"
        );
    }
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
