//! Versions, headers, info, refusals.

use serde_json::json;

use crate::harness::Harness;

#[tokio::test]
async fn ping_says_what_clients_negotiate_by() {
    let harness = Harness::new();
    let answer = harness.get("/_ping").await;
    assert_eq!((answer.status, answer.text().as_str()), (200, "OK"));
    for (name, value) in [
        ("Api-Version", "1.47"),
        ("Docker-Experimental", "false"),
        ("Ostype", "linux"),
        ("Builder-Version", "1"),
        ("Swarm", "inactive"),
        ("Content-Type", "text/plain; charset=utf-8"),
        ("Cache-Control", "no-cache, no-store, must-revalidate"),
        ("Pragma", "no-cache"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}");
    }
    assert!(answer.header("Server").unwrap().starts_with("Coracle/"));
    let answer = harness.request("HEAD", "/_ping", "").await;
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(answer.header("Api-Version"), Some("1.47"));
}

#[tokio::test]
async fn versions_are_checked() {
    let harness = Harness::new();
    assert_eq!(harness.get("/v1.24/version").await.status, 200);
    assert_eq!(harness.get("/v1.47/version").await.status, 200);
    let new = harness.get("/v1.99/version").await;
    assert_eq!(new.status, 400);
    assert_eq!(
        new.message(),
        "client version 1.99 is too new. Maximum supported API version is 1.47"
    );
    let old = harness.get("/v1.12/version").await;
    assert_eq!(old.status, 400);
    assert!(
        old.message()
            .contains("is too old. Minimum supported API version is 1.24")
    );
}

#[tokio::test]
async fn unknown_routes_and_methods_are_not_found() {
    let harness = Harness::new();
    for (method, path) in [
        ("GET", "/nope"),
        ("GET", "/v1.41/nope"),
        ("PUT", "/containers/json"),
        ("POST", "/images/a/b/nope"),
        ("GET", "/"),
    ] {
        let answer = harness.request(method, path, "").await;
        assert_eq!(answer.status, 404, "{method} {path}");
        assert_eq!(answer.json(), json!({"message": "page not found"}));
        assert_eq!(answer.header("Content-Type"), Some("application/json"));
    }
}

#[tokio::test]
async fn swarm_is_refused_as_dockerd_does() {
    let harness = Harness::new();
    for path in ["/services", "/nodes", "/tasks/x", "/swarm"] {
        let answer = harness.get(path).await;
        assert_eq!(answer.status, 503, "{path}");
        assert!(
            answer
                .message()
                .starts_with("This node is not a swarm manager.")
        );
    }
    assert_eq!(harness.get("/plugins").await.json(), json!([]));
    assert_eq!(harness.post("/session", "").await.status, 501);
    assert_eq!(harness.post("/build", "").await.status, 501);
    assert_eq!(harness.get("/images/search?term=x").await.status, 501);
}

#[tokio::test]
async fn version_and_info() {
    let harness = Harness::new();
    let version = harness.get("/version").await.json();
    assert_eq!(version["ApiVersion"], "1.47");
    assert_eq!(version["MinAPIVersion"], "1.24");
    assert_eq!(version["Components"][0]["Name"], "Engine");
    let info = harness.get("/info").await.json();
    assert_eq!(info["NCPU"], 4);
    assert_eq!(info["Swarm"]["LocalNodeState"], "inactive");
    assert_eq!(info["MemoryLimit"], true);
    assert_eq!(info["Warnings"], json!(null));
    assert_eq!(
        info["RegistryConfig"]["InsecureRegistryCIDRs"],
        json!(["127.0.0.0/8", "::1/128"])
    );
    assert_eq!(
        info["RegistryConfig"]["IndexConfigs"]["localhost:5000"]["Secure"],
        false
    );
}

#[tokio::test]
async fn disk_usage_by_type() {
    let harness = Harness::new();
    let all = harness.get("/system/df").await.json();
    assert_eq!(all["LayersSize"], 4_261_550);
    assert_eq!(all["Images"][0]["RepoTags"], json!(["busybox:latest"]));
    assert_eq!(all["Containers"], json!([]));
    assert_eq!(all["BuildCache"], json!([]));
    let one = harness.get("/system/df?type=container").await.json();
    assert_eq!(one["Images"], json!(null));
    assert_eq!(one["Containers"], json!([]));
    let bad = harness.get("/system/df?type=x").await;
    assert_eq!(
        (bad.status, bad.message().as_str()),
        (400, "unknown object type: x")
    );
}

#[tokio::test]
async fn login() {
    let harness = Harness::new();
    let good = harness
        .post("/auth", r#"{"username":"me","password":"good"}"#)
        .await;
    assert_eq!(
        good.json(),
        json!({"Status": "Login Succeeded", "IdentityToken": ""})
    );
    let bad = harness.post("/auth", r#"{"username":"me"}"#).await;
    assert_eq!(bad.status, 401);
}
