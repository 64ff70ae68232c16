//! Nothing that comes from outside makes a parser panic.

use proptest::prelude::*;

use crate::auth::credentials::Credentials;
use crate::cidr::Cidr;
use crate::hosts::RegistriesConfig;
use crate::location;
use crate::proxy::Proxies;
use crate::refusal::Refusal;

proptest! {
    #[test]
    fn locations(text in ".*", relative in "[/?#:@a-z0-9.%\\[\\]-]{0,40}") {
        let base = "https://r.example/v2/a/".parse().unwrap();
        for text in [&text, &relative] {
            if let Ok(uri) = location::resolve(&base, text) {
                prop_assert!(matches!(uri.scheme_str(), Some("http" | "https")));
                prop_assert!(uri.host().is_some_and(|host| !host.is_empty()));
                prop_assert!(!location::host(&uri).contains('@'));
                location::with_query(&uri, &[("digest", text)]).unwrap();
            }
        }
    }

    #[test]
    fn settings(text in ".*", hostlike in "[\\[\\]:./a-z0-9*@-]{0,30}") {
        for text in [&text, &hostlike] {
            let mut config = RegistriesConfig::default();
            let _ = (config.add_mirror(text), config.add_insecure(text), Cidr::parse(text));
            let proxies = Proxies::new(Some(text), None, Some(text));
            let _ = proxies.choose(&"http://a.example:80/".parse().unwrap());
        }
    }

    #[test]
    fn replies(bytes in prop::collection::vec(any::<u8>(), 0..200), json in "[{}\\[\\]\":,a-z0-9]*") {
        let refusal = Refusal::parse(http::StatusCode::BAD_REQUEST, &bytes, None);
        prop_assert!(refusal.reason.len() < 2000);
        Refusal::parse(http::StatusCode::BAD_REQUEST, json.as_bytes(), None);
        let _ = (Credentials::from_json(&bytes), Credentials::from_registry_auth(&json));
    }
}
