//! Docker's configuration file and credential helpers.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use coracle_registry::Credentials;
use coracle_registry::DockerConfig;
use coracle_registry::Helper;

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
            "docker_config::within_helpers_path",
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
