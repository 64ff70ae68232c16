//! Both APIs over TLS, with certificates of `coracle system cert create` and with keys.

use std::path::PathBuf;

use coracle_tests::{Daemon, Output, fixture};

const HOST: &str = "tcp://127.0.0.1:2376";
const URL: &str = "https://127.0.0.1:2376/api/v1";

/// A daemon, and a directory of certificates.
struct Served {
    d: Daemon,
    tls: PathBuf,
}

impl Served {
    /// With certificates for the daemon, `me`, `old` (which has expired), and a `stranger` of another
    /// authority, and a daemon that serves TLS with these flags.
    fn with(flags: &[&str]) -> Option<Self> {
        let mut d = Daemon::start()?;
        let tls = d.dir().join("tls");
        let own = Self::create(&d, &tls, "daemon", &["--server", "127.0.0.1"]);
        assert_eq!(own, tls.join("daemon"));
        Self::create(&d, &tls, "me", &[]);
        Self::create(&d, &tls.join("foreign"), "stranger", &[]);
        let script = r#"
            cd "$0"; mkdir old; echo 01 >serial; touch index
            cat >ca.conf <<END
[ca]
default_ca = own
[own]
database = index
serial = serial
new_certs_dir = old
default_md = sha256
policy = any
x509_extensions = client
[any]
commonName = supplied
[client]
extendedKeyUsage = clientAuth
END
            openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=old \
                -keyout old/key.pem -out old.csr
            openssl ca -batch -config ca.conf -startdate 20200101000000Z -enddate 20200102000000Z \
                -in old.csr -cert ca.pem -keyfile ca-key.pem -notext -out old/cert.pem"#;
        let made = d.inside("bash", &["-ec", script, &tls.display().to_string()]);
        assert_eq!(made.code, 0, "{made}");
        assert_eq!(d.terminate(), Some(0));
        let at = |name: &str| tls.join("daemon").join(name).display().to_string();
        let (ca, cert, key) = (at("ca.pem"), at("cert.pem"), at("key.pem"));
        d.more_flags(&[
            "--host", HOST, "--tlscacert", &ca, "--tlscert", &cert, "--tlskey", &key,
        ]);
        d.more_flags(flags);
        d.spawn();
        Some(Self { d, tls })
    }

    /// Has a certificate made; the answer is its directory.
    fn create(d: &Daemon, authority: &std::path::Path, name: &str, more: &[&str]) -> PathBuf {
        let authority = authority.display().to_string();
        let line = [
            "system", "cert", "create", "--authority", &authority, "--name", name,
        ];
        d.inside(&coracle(), &[&line[..], more].concat())
            .ok()
            .into()
    }

    fn at(&self, name: &str) -> String {
        self.tls.join(name).display().to_string()
    }

    /// Asks for a path of the native API with more options; the last line is the status, 000 for none.
    fn ask(&self, who: Option<&str>, options: &[&str], path: &str) -> Output {
        let (ca, url) = (self.at("daemon/ca.pem"), format!("{URL}{path}"));
        let mut line = vec![
            "-s", "--noproxy", "*", "-w", "\n%{http_code}", "--cacert", &ca,
        ];
        let (cert, key);
        if let Some(who) = who {
            cert = self.at(&format!("{who}/cert.pem"));
            key = self.at(&format!("{who}/key.pem"));
            line.extend(["--cert", &cert, "--key", &key]);
        }
        line.extend(options);
        line.push(&url);
        self.d.inside("curl", &line)
    }

    fn status(&self, who: Option<&str>, options: &[&str], path: &str) -> String {
        let answer = self.ask(who, options, path);
        answer.stdout.lines().last().unwrap_or_default().to_owned()
    }
}

fn coracle() -> String {
    fixture::binary("coracle").display().to_string()
}

const VOLUME: [&str; 4] = [
    "-H", "Content-Type: application/json", "-d", r#"{"name": "by-tls"}"#,
];

#[test]
fn with_client_certificates() {
    let Some(s) = Served::with(&["--tlsverify"]) else {
        return;
    };
    assert_eq!(s.status(Some("me"), &[], "/info"), "200");
    assert_eq!(s.status(Some("me"), &VOLUME, "/volumes"), "201");
    assert_eq!(s.d.ok(&["volume", "ls", "-q"]), "by-tls");
    for who in [None, Some("foreign/stranger"), Some("old")] {
        assert_eq!(s.status(who, &[], "/info"), "000", "{who:?}");
        assert_eq!(s.status(who, &[], "/volumes"), "000", "{who:?}");
    }
    // The clients, as they are told to.
    let run = |who: &str, line: &[&str]| {
        let path = format!("DOCKER_CERT_PATH={}", s.at(who));
        let host = format!("DOCKER_HOST={HOST}");
        s.d.inside(
            "env",
            &[&[path.as_str(), &host, "DOCKER_TLS_VERIFY=1"], line].concat(),
        )
    };
    assert_eq!(run("me", &["docker", "volume", "ls", "-q"]).ok(), "by-tls");
    assert_eq!(
        run("me", &[&coracle(), "volume", "ls", "-q"]).ok(),
        "by-tls"
    );
    let listed = run("me", &[&coracle(), "system", "key", "list"]).ok();
    assert!(listed.contains("ID"), "{listed}");
    let refused = run("foreign/stranger", &[&coracle(), "volume", "ls"]);
    assert_ne!(refused.code, 0, "{refused}");
}

#[test]
fn with_keys_or_certificates() {
    let Some(s) = Served::with(&["--tls"]) else {
        return;
    };
    let key = |scope: &str| {
        let line = ["system", "key", "create", "--scope", scope, scope];
        let host = format!("DOCKER_HOST={}", s.d.host());
        s.d.inside("env", &[&[host.as_str(), &coracle()], &line[..]].concat())
            .ok()
    };
    let (read, write) = (key("read"), key("write"));
    let bearer = |secret: &str| format!("Authorization: Bearer {secret}");
    let (read, write) = (bearer(&read), bearer(&write));
    assert_eq!(s.status(None, &["-H", &read], "/info"), "200");
    assert_eq!(
        s.status(None, &[&["-H", &read], &VOLUME[..]].concat(), "/volumes"),
        "403"
    );
    assert_eq!(
        s.status(None, &[&["-H", &write], &VOLUME[..]].concat(), "/volumes"),
        "201"
    );
    assert_eq!(s.status(None, &[], "/info"), "401");
    assert_eq!(s.status(None, &["-H", &bearer("nonsense")], "/info"), "401");
    // A certificate is as good; a bad one is refused whatever key comes with it.
    assert_eq!(s.status(Some("me"), &[], "/info"), "200");
    for who in ["foreign/stranger", "old"] {
        assert_eq!(
            s.status(Some(who), &["-H", &write], "/info"),
            "000",
            "{who}"
        );
    }
    // Without TLS nothing is heard.
    let plain = URL.replace("https", "http");
    let plain = s.d.inside(
        "curl",
        &[
            "-s",
            "--noproxy",
            "*",
            "-H",
            &write,
            &format!("{plain}/info"),
        ],
    );
    assert!(!plain.stdout.contains("{"), "{plain}");
    let keys = s.d.api("GET", "/api/v1/keys", None).json();
    let keys = keys["items"].as_array().unwrap();
    let of = |scope: &str| keys.iter().find(|key| key["name"] == scope).unwrap();
    let id = of("write")["id"].as_str().unwrap();
    let revoked = s.d.api("DELETE", &format!("/api/v1/keys/{id}"), None);
    assert_eq!(revoked.status, 204, "{}", revoked.text());
    assert_eq!(s.status(None, &["-H", &write], "/info"), "401");
    assert_eq!(s.status(None, &["-H", &read], "/info"), "200");
}
