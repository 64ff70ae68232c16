//! Volumes.

use super::super::Subject;
use super::super::support::{refused, soon};
use super::super::told::event;
use crate::container::RemoveOptions;
use crate::error::RuntimeError;
use crate::spec::{Empty, Mount};
use crate::volume::VolumeSpec;

impl Subject {
    fn volume_spec(&self) -> VolumeSpec {
        VolumeSpec {
            name: self.name(),
            labels: self.labels(),
            ..VolumeSpec::default()
        }
    }
}

pub(super) async fn made_and_removed(s: Subject) {
    if !s.can.volumes {
        return;
    }
    let mut listener = s.listen();
    let spec = s.volume_spec();
    let volume = s.runtime.create_volume(spec.clone()).await.unwrap();
    let name = volume.name.clone();
    assert_eq!(
        (name.as_str(), volume.driver.as_str()),
        (spec.name.as_str(), "local")
    );
    assert!(!volume.mountpoint.is_empty() && !volume.anonymous);
    assert_eq!(volume.labels, s.labels());
    event(&mut listener, &name, "create").await;
    assert_eq!(s.runtime.inspect_volume(&name).await.unwrap(), volume);
    assert!(
        s.runtime
            .list_volumes()
            .await
            .unwrap()
            .iter()
            .any(|other| other.name == name)
    );
    // Made again it is the same.
    assert_eq!(
        s.runtime.create_volume(spec).await.unwrap().created,
        volume.created
    );
    s.runtime.remove_volume(&name, false).await.unwrap();
    event(&mut listener, &name, "destroy").await;
    refused!(
        s.runtime.inspect_volume(&name).await,
        NotFound,
        "no such volume"
    );
    refused!(
        s.runtime.remove_volume(&name, false).await,
        NotFound,
        "no such volume"
    );
    s.runtime.remove_volume(&name, true).await.unwrap();
}

pub(super) async fn bad_ones_are_refused(s: Subject) {
    if !s.can.volumes {
        return;
    }
    for name in ["a/b", "-a", "a b"] {
        let spec = VolumeSpec {
            name: name.into(),
            ..VolumeSpec::default()
        };
        refused!(s.runtime.create_volume(spec).await, InvalidArgument, name);
    }
    let spec = VolumeSpec {
        driver: "nosuch".into(),
        ..s.volume_spec()
    };
    refused!(s.runtime.create_volume(spec).await, NotFound, "nosuch");
    for (option, value, words) in [
        ("nonsense", "1", "invalid option: \"nonsense\""),
        ("type", "tmpfs", "missing required option: \"device\""),
        ("device", "/x", "missing required option: \"type\""),
        ("o", "bind", "missing required option: \"device\""),
        ("size", "", "invalid size: ''"),
        ("size", "many", "invalid size: 'many'"),
    ] {
        let spec = VolumeSpec {
            driver_opts: [(option.to_owned(), value.to_owned())].into(),
            ..s.volume_spec()
        };
        refused!(s.runtime.create_volume(spec).await, InvalidArgument, words);
    }
    let unnamed = VolumeSpec {
        labels: s.labels(),
        ..VolumeSpec::default()
    };
    let volume = s.runtime.create_volume(unnamed).await.unwrap();
    assert_eq!(volume.name.len(), 64, "{}", volume.name);
}

/// A limit, wherever there can be one; where there can't it is told in Docker's words.
pub(super) async fn with_a_size(s: Subject) {
    if !s.can.volumes {
        return;
    }
    let options = [("size".to_owned(), "16m".to_owned())];
    let spec = VolumeSpec {
        driver_opts: options.clone().into(),
        ..s.volume_spec()
    };
    let volume = match s.runtime.create_volume(spec).await {
        Ok(volume) => volume,
        Err(RuntimeError::InvalidArgument(text)) => {
            assert!(text.contains("no quota support"), "{text}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    assert_eq!(volume.options, options.into());
    let name = volume.name;
    let mut writer = s.sh("echo kept > /data/file");
    writer.host.binds = vec![format!("{name}:/data")];
    let (id, code) = s.run(writer).await;
    assert_eq!(code, 0);
    s.remove(&id).await;
    let mut reader = s.sh("cat /data/file");
    reader.host.binds = vec![format!("{name}:/data")];
    let (id, written) = s.output(reader).await;
    assert_eq!((written.stdout.as_str(), written.code), ("kept\n", 0));
    s.remove(&id).await;
    s.runtime.remove_volume(&name, false).await.unwrap();
}

pub(super) async fn files_outlive_containers(s: Subject) {
    if !s.can.volumes {
        return;
    }
    let name = s.runtime.create_volume(s.volume_spec()).await.unwrap().name;
    let mut writer = s.sh("echo kept > /data/file");
    writer.host.binds = vec![format!("{name}:/data")];
    let (id, code) = s.run(writer).await;
    assert_eq!(code, 0);
    let mount = &s.inspect(&id).await.mounts[0];
    assert_eq!(
        (mount.kind.as_str(), mount.name.as_str()),
        ("volume", name.as_str())
    );
    assert_eq!((mount.destination.as_str(), mount.rw), ("/data", true));
    s.remove(&id).await;
    let mut reader = s.sh("cat /data/file; touch /data/other || exit 4");
    reader.host.mounts = vec![Mount {
        kind: "volume".into(),
        source: name.clone(),
        target: "/data".into(),
        read_only: true,
        ..Mount::default()
    }];
    let (id, written) = s.output(reader).await;
    assert_eq!((written.stdout.as_str(), written.code), ("kept\n", 4));
    refused!(
        s.runtime.remove_volume(&name, false).await,
        InvalidState,
        "volume is in use"
    );
    refused!(
        s.runtime.remove_volume(&name, true).await,
        InvalidState,
        "volume is in use"
    );
    s.remove(&id).await;
    s.runtime.remove_volume(&name, false).await.unwrap();
}

pub(super) async fn two_containers_share_one(s: Subject) {
    if !s.can.volumes {
        return;
    }
    let name = s.runtime.create_volume(s.volume_spec()).await.unwrap().name;
    let mut reader = s.sh("while [ ! -f /in/file ]; do sleep 0.02; done; cat /in/file");
    reader.host.binds = vec![format!("{name}:/in:ro")];
    let reader = s.launch(reader).await;
    let mut writer = s.sh("echo passed > /out/new; mv /out/new /out/file");
    writer.host.binds = vec![format!("{name}:/out")];
    assert_eq!(s.run(writer).await.1, 0);
    assert_eq!(s.ended(&reader).await, 0);
    assert_eq!(s.logged(&reader).await, ["passed\n"]);
}

/// A new volume begins with what the image has in its place.
pub(super) async fn an_empty_one_is_filled_from_the_image(s: Subject) {
    if !s.can.volumes {
        return;
    }
    let name = s.name();
    let mut spec = s.sh("ls /etc");
    spec.host.binds = vec![format!("{name}:/etc")];
    let (id, written) = s.output(spec).await;
    assert!(written.stdout.contains("passwd\n"), "{written:?}");
    s.remove(&id).await;
    let name = s.name();
    let mut spec = s.sh("ls /etc/passwd || exit 3");
    spec.host.binds = vec![format!("{name}:/etc:nocopy")];
    assert_eq!(s.run(spec).await.1, 3);
}

pub(super) async fn anonymous_ones_go_with_their_container(s: Subject) {
    if !s.can.volumes {
        return;
    }
    for (volumes, auto_remove) in [(true, false), (false, false), (false, true)] {
        let mut spec = s.sh("touch /data/x");
        spec.config.volumes.insert("/data".into(), Empty {});
        spec.host.auto_remove = auto_remove;
        let id = s.create(spec).await;
        let name = s.inspect(&id).await.mounts[0].name.clone();
        assert!(s.runtime.inspect_volume(&name).await.unwrap().anonymous);
        s.start(&id).await;
        if auto_remove {
            s.until_gone(&id).await;
        } else {
            s.ended(&id).await;
            let options = RemoveOptions {
                volumes,
                ..RemoveOptions::default()
            };
            soon("remove", s.runtime.remove_container(&id, options))
                .await
                .unwrap();
        }
        let kept = s.runtime.inspect_volume(&name).await.is_ok();
        assert_eq!(
            kept,
            !volumes && !auto_remove,
            "volumes {volumes}, --rm {auto_remove}"
        );
        let _ = s.runtime.remove_volume(&name, true).await;
    }
}

pub(super) async fn volumes_from_another(s: Subject) {
    if !s.can.volumes {
        return;
    }
    let mut first = s.sh("echo shared > /data/file");
    first.config.volumes.insert("/data".into(), Empty {});
    let (first, _) = s.run(first).await;
    let mut second = s.sh("cat /data/file; touch /data/x || exit 5");
    second.host.volumes_from = vec![format!("{first}:ro")];
    let (second, written) = s.output(second).await;
    assert_eq!((written.stdout.as_str(), written.code), ("shared\n", 5));
    // It is the first one's: the second's removal leaves it.
    s.remove(&second).await;
    let name = s.inspect(&first).await.mounts[0].name.clone();
    assert!(s.runtime.inspect_volume(&name).await.is_ok());
}

pub(super) async fn a_tmpfs_is_new_in_every_run(s: Subject) {
    let mut spec = s.sh("[ -f /scratch/mark ] && exit 9; touch /scratch/mark");
    spec.host.tmpfs.insert("/scratch".into(), String::new());
    let id = s.create(spec).await;
    for _ in 0..2 {
        s.start(&id).await;
        assert_eq!(s.ended(&id).await, 0);
    }
    let container = s.inspect(&id).await;
    assert!(container.host_config.tmpfs.contains_key("/scratch"));
    assert!(
        container.mounts.is_empty(),
        "the short form is shown in the configuration only"
    );
    if s.can.commit {
        let changes = s.runtime.container_changes(&id).await.unwrap();
        assert!(
            changes.iter().all(|change| !change.path.contains("mark")),
            "{changes:?}"
        );
    }
    let mut spec = s.sh("[ -f /scratch/mark ] && exit 9; touch /scratch/mark");
    spec.host.mounts = vec![Mount {
        kind: "tmpfs".into(),
        target: "/scratch".into(),
        ..Mount::default()
    }];
    let (id, code) = s.run(spec).await;
    assert_eq!(code, 0);
    let mount = &s.inspect(&id).await.mounts[0];
    assert_eq!(
        (mount.kind.as_str(), mount.destination.as_str()),
        ("tmpfs", "/scratch")
    );
}

pub(super) async fn bad_mounts_are_refused(s: Subject) {
    for (bind, words) in [
        ("name:relative", "mount path must be absolute"),
        ("name:/x:nosuch", "invalid mode"),
        ("name:/", "destination can't be '/'"),
        ("a:b:c:d", "invalid volume specification"),
        ("", "invalid volume specification"),
    ] {
        let mut spec = s.spec(&["true"]);
        spec.host.binds = vec![bind.into()];
        refused!(
            s.runtime.create_container(spec).await,
            InvalidArgument,
            words
        );
    }
    let mut spec = s.spec(&["true"]);
    spec.host.binds = vec![format!("{}:/x", s.name()), format!("{}:/x", s.name())];
    refused!(
        s.runtime.create_container(spec).await,
        InvalidArgument,
        "Duplicate mount point: /x"
    );
    let mut spec = s.spec(&["true"]);
    let kind = "nosuch".to_owned();
    spec.host.mounts = vec![Mount {
        kind,
        target: "/x".into(),
        ..Mount::default()
    }];
    refused!(
        s.runtime.create_container(spec).await,
        InvalidArgument,
        "nosuch"
    );
}

pub(super) async fn prune(s: Subject) {
    if !s.can.volumes {
        return;
    }
    let used = s.runtime.create_volume(s.volume_spec()).await.unwrap().name;
    let unused = s.runtime.create_volume(s.volume_spec()).await.unwrap().name;
    let mut spec = s.spec(&["true"]);
    spec.host.binds = vec![format!("{used}:/data")];
    s.create(spec).await;
    let pruned = s.runtime.prune_volumes(&s.filter()).await.unwrap();
    assert!(pruned.deleted.is_empty(), "only anonymous ones: {pruned:?}");
    let mut all = s.filter();
    all.add("all", "true");
    let pruned = s.runtime.prune_volumes(&all).await.unwrap();
    assert_eq!(pruned.deleted, [unused]);
    s.runtime.inspect_volume(&used).await.unwrap();
    let mut bad = s.filter();
    bad.add("all", "perhaps");
    refused!(s.runtime.prune_volumes(&bad).await, InvalidArgument, "all");
}
