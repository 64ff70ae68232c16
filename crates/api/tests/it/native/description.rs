//! The API's description.

use coracle_api::ServerConfig;

use super::{Daemon, NOTHING};

#[tokio::test]
async fn the_description_is_whole() {
    let d = Daemon::start(ServerConfig::default()).await;
    let api = d.ok("GET", "/openapi.json", NOTHING, 200).await.json();
    assert_eq!(api["openapi"], "3.1.0");
    // Whatever is referred to is there.
    let text = api.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(api["components"]["schemas"].get(name).is_some(), "{name}");
    }
    let paths = api["paths"].as_object().unwrap();
    assert!(paths.len() > 50, "{}", paths.len());
    for path in [
        "/version",
        "/info",
        "/capabilities",
        "/disk-usage",
        "/kernels",
        "/secrets",
    ] {
        assert!(paths.contains_key(path), "{path}");
        d.ok("GET", path, NOTHING, 200).await;
    }
}
