//! Reading JSON the way Go reads it: names of fields fit whatever their case.
//!
//! Clients depend on it: docker-py sends `detachKeys` where the API says `DetachKeys`.

use std::collections::BTreeMap;

use serde::Deserializer;
use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Error as _, IntoDeserializer, Unexpected, Visitor};
use serde_json::{Error, Value};

/// Reads a document.
pub fn from_slice<T: DeserializeOwned>(json: &[u8]) -> Result<T, Error> {
    from_value(serde_json::from_slice(json)?)
}

/// Reads what was parsed already.
pub fn from_value<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    T::deserialize(Lenient(value))
}

struct Lenient(Value);

/// Gives keys the case that the struct knows them by. Where a key comes in several cases, the one
/// that is exactly right counts.
fn fit(object: serde_json::Map<String, Value>, fields: &[&str]) -> BTreeMap<String, Value> {
    let mut fitted = BTreeMap::new();
    let mut exact = Vec::new();
    for (key, value) in object {
        if fields.contains(&key.as_str()) {
            exact.push((key, value));
            continue;
        }
        let name = fields.iter().find(|name| name.eq_ignore_ascii_case(&key));
        fitted.insert(name.map_or(key, |name| (*name).to_owned()), value);
    }
    fitted.extend(exact);
    fitted
}

impl<'de> Deserializer<'de> for Lenient {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Array(values) => {
                visitor.visit_seq(SeqDeserializer::new(values.into_iter().map(Self)))
            }
            Value::Object(object) => {
                let pairs = object.into_iter().map(|(key, value)| (key, Self(value)));
                visitor.visit_map(MapDeserializer::new(pairs))
            }
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::Object(object) => {
                let pairs = fit(object, fields).into_iter();
                let pairs = pairs.map(|(key, value)| (key, Self(value)));
                visitor.visit_map(MapDeserializer::new(pairs))
            }
            // Without names there is nothing to tell the fields by.
            Value::Array(_) => Err(Error::invalid_type(Unexpected::Seq, &visitor)),
            plain => plain.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

impl IntoDeserializer<'_, Error> for Lenient {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use coracle_runtime::exec::ExecSpec;
    use coracle_runtime::spec::{ContainerConfig, HostConfig};
    use serde_json::json;

    use super::*;

    #[test]
    fn case_does_not_matter_for_fields() {
        let spec: ExecSpec = from_slice(br#"{"detachKeys":"a","CMD":["x"],"tty":true}"#).unwrap();
        assert_eq!((spec.detach_keys.as_str(), spec.tty), ("a", true));
        let host: HostConfig =
            from_slice(br#"{"restartpolicy":{"name":"always"},"portbindings":{"80/TCP":null}}"#)
                .unwrap();
        assert_eq!(host.restart_policy.name, "always");
        assert!(host.port_bindings.contains_key("80/TCP"));
    }

    #[test]
    fn the_right_case_wins() {
        let config: ContainerConfig =
            from_slice(br#"{"image":"b","Image":"a","IMAGE":"c"}"#).unwrap();
        assert_eq!(config.image, "a");
    }

    #[test]
    fn all_else_is_as_before() {
        let json = json!({
            "Cmd": "one", "Entrypoint": ["a"], "Env": null, "ExposedPorts": {"80/tcp": {}},
            "Healthcheck": {"Interval": 5, "Test": ["NONE"]}, "StopTimeout": -1, "Nope": {"a": [1]},
        });
        let strict: ContainerConfig = serde_json::from_value(json.clone()).unwrap();
        let lenient: ContainerConfig = from_value(json).unwrap();
        assert_eq!(strict, lenient);
        for bad in [
            r#"{"Tty":"yes"}"#,
            r#"{"Env":[1]}"#,
            "[]",
            "5",
            "{",
            r#"{"StopTimeout":1.5}"#,
        ] {
            assert!(
                from_slice::<ContainerConfig>(bad.as_bytes()).is_err(),
                "{bad}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn rubbish_is_an_error(text in "[\\[\\]{}\",:a-c0-9]{0,60}") {
            let _ = from_slice::<HostConfig>(text.as_bytes());
        }
    }
}
