//! Secrets and configs.

use super::super::Subject;
use super::super::support::refused;
use super::super::told::event;
use crate::secret::{FileReference, SecretSpec, SecretUpdate, Sensitive};

const VALUE: &str = "between you and me";

impl Subject {
    fn secret_spec(&self) -> SecretSpec {
        SecretSpec {
            name: self.name(),
            labels: self.labels(),
            data: Sensitive::new(VALUE.as_bytes().to_vec()),
        }
    }
}

fn reference(source: &str) -> FileReference {
    FileReference {
        source: source.to_owned(),
        ..FileReference::default()
    }
}

pub(super) async fn secrets_made_and_removed(s: Subject) {
    if !s.can.secrets {
        return;
    }
    let mut listener = s.listen();
    let (r, spec) = (&s.runtime, s.secret_spec());
    let id = r.create_secret(spec.clone()).await.unwrap();
    event(&mut listener, &id, "create").await;
    let secret = r.inspect_secret(&spec.name).await.unwrap();
    assert_eq!((&secret.id, &secret.name), (&id, &spec.name));
    assert_eq!((secret.version, &secret.labels), (1, &spec.labels));
    assert_eq!(r.inspect_secret(&id).await.unwrap(), secret);
    assert_eq!(r.inspect_secret(&id[..id.len() - 1]).await.unwrap(), secret);
    assert!(r.list_secrets().await.unwrap().contains(&secret));
    refused!(
        r.create_secret(spec.clone()).await,
        AlreadyExists,
        "already exists"
    );
    // A config of that name is another thing.
    let config = r.create_config(spec.clone()).await.unwrap();
    let mut update = SecretUpdate {
        version: 1,
        labels: s.labels(),
    };
    update.labels.insert("more".into(), "yes".into());
    r.update_secret(&id, update.clone()).await.unwrap();
    event(&mut listener, &id, "update").await;
    let changed = r.inspect_secret(&id).await.unwrap();
    assert_eq!((changed.version, &changed.labels), (2, &update.labels));
    refused!(
        r.update_secret(&id, update).await,
        InvalidArgument,
        "update out of sequence"
    );
    r.remove_secret(&spec.name).await.unwrap();
    event(&mut listener, &id, "remove").await;
    refused!(r.inspect_secret(&id).await, NotFound, "not found");
    refused!(r.remove_secret(&id).await, NotFound, "not found");
    r.remove_config(&config).await.unwrap();
}

pub(super) async fn configs_show_their_value(s: Subject) {
    if !s.can.secrets {
        return;
    }
    let mut listener = s.listen();
    let (r, spec) = (&s.runtime, s.secret_spec());
    let id = r.create_config(spec.clone()).await.unwrap();
    event(&mut listener, &id, "create").await;
    let config = r.inspect_config(&spec.name).await.unwrap();
    assert_eq!(config.data, VALUE.as_bytes());
    assert!(r.list_configs().await.unwrap().contains(&config));
    refused!(r.create_config(spec).await, AlreadyExists, "already exists");
    let update = SecretUpdate {
        version: config.about.version,
        labels: s.labels(),
    };
    r.update_config(&id, update).await.unwrap();
    r.remove_config(&id).await.unwrap();
    event(&mut listener, &id, "remove").await;
    refused!(r.inspect_config(&id).await, NotFound, "not found");
}

pub(super) async fn bad_secrets_are_refused(s: Subject) {
    if !s.can.secrets {
        return;
    }
    let r = &s.runtime;
    for name in ["", "-a", "a/b", "a b"] {
        let mut spec = s.secret_spec();
        spec.name = name.into();
        refused!(r.create_secret(spec.clone()).await, InvalidArgument, "name");
        refused!(r.create_config(spec).await, InvalidArgument, "name");
    }
    for length in [0, 500 * 1024] {
        let mut spec = s.secret_spec();
        spec.data = Sensitive::new(vec![7; length]);
        refused!(
            r.create_secret(spec).await,
            InvalidArgument,
            "secret data must be larger than 0 and less than 512000 bytes"
        );
    }
    let mut spec = s.secret_spec();
    spec.data = Sensitive::new(vec![7; 1_024_000]);
    refused!(
        r.create_config(spec).await,
        InvalidArgument,
        "config data must be"
    );
}

pub(super) async fn a_container_reads_them(s: Subject) {
    if !s.can.secrets {
        return;
    }
    let (r, spec) = (&s.runtime, s.secret_spec());
    let name = spec.name.as_str();
    let id = r.create_secret(spec.clone()).await.unwrap();
    r.create_config(spec.clone()).await.unwrap();
    let mut reader = s.sh(&format!(
        "cat /run/secrets/{name} /srv/deep/file /{name}; echo; id -u"
    ));
    reader.config.user = "1234:1234".into();
    reader.host.secrets = vec![
        reference(name),
        FileReference {
            target: "/srv/deep/file".into(),
            uid: "1234".into(),
            mode: Some(0o400),
            ..reference(&id)
        },
    ];
    reader.host.configs = vec![reference(name)];
    let (container, written) = s.output(reader).await;
    assert_eq!(written.stdout, format!("{VALUE}{VALUE}{VALUE}\n1234\n"));
    // It is there again in each run, and can't be removed meanwhile.
    refused!(r.remove_secret(name).await, InvalidArgument, "is in use by");
    refused!(r.remove_config(name).await, InvalidArgument, "is in use by");
    s.start(&container).await;
    s.ended(&container).await;
    let all = s.logged(&container).await.concat();
    assert_eq!(all.matches(VALUE).count(), 6, "{all}");
    let inspected = format!("{:?}", s.inspect(&container).await);
    assert!(!inspected.contains(VALUE));
    s.remove(&container).await;
    r.remove_secret(name).await.unwrap();
    r.remove_config(name).await.unwrap();
}

pub(super) async fn bad_references_are_refused(s: Subject) {
    if !s.can.secrets {
        return;
    }
    let r = &s.runtime;
    let name = s.secret_spec().name;
    let mut spec = s.secret_spec();
    spec.name.clone_from(&name);
    r.create_secret(spec).await.unwrap();
    let good = reference(&name);
    let with = |change: &dyn Fn(&mut FileReference)| {
        let mut changed = good.clone();
        change(&mut changed);
        changed
    };
    for (bad, words) in [
        (reference("nosuch"), "secret not found: nosuch"),
        (reference(""), "name"),
        (with(&|file| file.uid = "root".into()), "uid"),
        (with(&|file| file.gid = "-1".into()), "gid"),
        (with(&|file| file.mode = Some(0o4755)), "mode"),
        (with(&|file| file.target = "../x".into()), "target"),
        (with(&|file| file.target = "/".into()), "target"),
    ] {
        let mut container = s.sh("true");
        container.host.secrets = vec![bad];
        refused!(r.create_container(container).await, InvalidArgument, words);
    }
    let mut twice = s.sh("true");
    twice.host.secrets = vec![good.clone(), good.clone()];
    refused!(
        r.create_container(twice).await,
        InvalidArgument,
        "Duplicate mount point"
    );
    r.remove_secret(&name).await.unwrap();
}

pub(super) async fn a_new_key_changes_nothing(s: Subject) {
    if !s.can.secrets {
        return;
    }
    let (r, spec) = (&s.runtime, s.secret_spec());
    r.create_secret(spec.clone()).await.unwrap();
    assert!(r.rotate_secret_key().await.is_ok());
    let mut reader = s.sh(&format!("cat /run/secrets/{}", spec.name));
    reader.host.secrets = vec![reference(&spec.name)];
    let (container, written) = s.output(reader).await;
    assert_eq!(written.stdout, VALUE);
    s.remove(&container).await;
    r.remove_secret(&spec.name).await.unwrap();
}
