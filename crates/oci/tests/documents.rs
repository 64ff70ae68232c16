//! Parsers of untrusted documents: any bytes are read or refused, never a panic.

use coracle_oci::Digest;
use coracle_oci::Document;
use coracle_oci::ImageConfig;
use coracle_oci::Platform;
use coracle_oci::limits;
use proptest::prelude::*;

/// JSON that looks like a manifest, with values of every wrong kind in it.
fn near_manifest() -> impl Strategy<Value = String> {
    let digest = Digest::sha256(b"x").to_string();
    let value = prop_oneof![
        Just("null".to_owned()),
        Just("2".to_owned()),
        Just("-1".to_owned()),
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("\"application/vnd.oci.image.manifest.v1+json\"".to_owned()),
        Just(format!("\"{digest}\"")),
        Just(format!(
            "{{\"mediaType\":\"a/b\",\"digest\":\"{digest}\",\"size\":1}}"
        )),
        Just(format!(
            "[{{\"mediaType\":\"a/b\",\"digest\":\"{digest}\",\"size\":1}}]"
        )),
        Just("[null]".to_owned()),
    ];
    let key = prop_oneof![
        Just("schemaVersion"),
        Just("mediaType"),
        Just("config"),
        Just("layers"),
        Just("manifests"),
        Just("subject"),
        Just("annotations"),
        Just("rootfs"),
        Just("history"),
        Just("other"),
    ];
    prop::collection::vec((key, value), 0..7).prop_map(|pairs| {
        let fields: Vec<String> = pairs
            .into_iter()
            .map(|(key, value)| format!("\"{key}\":{value}"))
            .collect();
        format!("{{\"schemaVersion\":2,{}}}", fields.join(",")).replace(",}", "}")
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Document::parse(&bytes, None);
        let _ = ImageConfig::parse(&bytes);
    }

    #[test]
    fn nearly_manifests(text in near_manifest()) {
        let _ = ImageConfig::parse(text.as_bytes());
        match Document::parse(text.as_bytes(), None) {
            Ok(Document::Manifest(manifest)) => {
                prop_assert!(manifest.children().all(|child| child.size <= limits::MAX_SIZE));
                let bytes = serde_json::to_vec(&manifest).unwrap();
                prop_assert_eq!(Document::parse(&bytes, None).unwrap(), Document::Manifest(manifest));
            }
            Ok(Document::Index(index)) => {
                let bytes = serde_json::to_vec(&index).unwrap();
                prop_assert_eq!(Document::parse(&bytes, None).unwrap(), Document::Index(index));
            }
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn any_platform(text in "[a-zA-Z0-9/_.-]{0,30}") {
        if let Ok(platform) = Platform::parse(&text) {
            prop_assert_eq!(&platform.normalized(), &platform);
            prop_assert_eq!(&Platform::parse(&platform.to_string()).unwrap(), &platform);
            prop_assert_eq!(platform.rank(&platform), Some(0));
        }
    }

    #[test]
    fn any_digest(text in "(sha256|sha512|md5)?:?[0-9a-fA-F]{0,130}") {
        if let Ok(digest) = Digest::parse(&text) {
            prop_assert_eq!(digest.as_str(), text.as_str());
            prop_assert_eq!(digest.hex().len(), digest.algorithm().hex_len());
        }
    }
}
