//! Images as archives: saved, loaded, imported.

use super::super::Subject;
use super::super::support::{all, bytes, refused, soon, stream, tar_of, untar};
use super::super::told::event;
use crate::image::{ImportRequest, RemoveImageOptions};

const PLAIN: RemoveImageOptions = RemoveImageOptions {
    force: false,
    no_prune: false,
};

pub(super) async fn save_and_load(s: Subject) {
    if !s.can.image_archive || !s.can.commit {
        return;
    }
    let name = s.image_name();
    let id = s
        .commit_of(
            "echo saved > /own",
            Some(&name),
            &["CMD [\"cat\", \"/own\"]"],
        )
        .await;
    let before = s.runtime.inspect_image(&id).await.unwrap();
    let saved = soon("save", s.runtime.save_images(std::slice::from_ref(&name)))
        .await
        .unwrap();
    let archive = bytes("save", saved).await;
    let entries = untar(&archive);
    for file in ["manifest.json", "index.json", "oci-layout"] {
        assert!(
            entries.iter().any(|entry| entry.path == file),
            "{file} is in the archive"
        );
    }
    s.runtime.remove_image(&name, PLAIN).await.unwrap();
    refused!(s.runtime.inspect_image(&id).await, ImageNotFound);
    for _ in 0..2 {
        let mut listener = s.listen();
        let loaded = soon("load", s.runtime.load_images(stream(&archive)))
            .await
            .unwrap();
        let told: String = all("load", loaded)
            .await
            .into_iter()
            .filter_map(|step| step.stream)
            .collect();
        assert!(told.contains(&format!("Loaded image: {name}")), "{told}");
        event(&mut listener, &id, "load").await;
        let after = s.runtime.inspect_image(&name).await.unwrap();
        assert_eq!(
            (&after.id, &after.layers, &after.config),
            (&before.id, &before.layers, &before.config)
        );
    }
    let mut spec = s.spec(&[]);
    spec.config.image = name;
    spec.config.cmd = None;
    assert_eq!(s.output(spec).await.1.stdout, "saved\n");
}

pub(super) async fn hostile_archives_are_refused(s: Subject) {
    if !s.can.image_archive {
        return;
    }
    let count = s.runtime.list_images(false).await.unwrap().len();
    let no_config = tar_of(&[(
        "manifest.json",
        r#"[{"Config":"x.json","RepoTags":null,"Layers":[]}]"#,
    )]);
    let outside = tar_of(&[(
        "manifest.json",
        r#"[{"Config":"../../etc/passwd","RepoTags":null,"Layers":[]}]"#,
    )]);
    let garbage = b"no archive at all, but long enough to be looked at".repeat(20);
    for archive in [
        garbage,
        tar_of(&[("file", "x")]),
        no_config,
        outside,
        Vec::new(),
    ] {
        let result = match s.runtime.load_images(stream(&archive)).await {
            Err(error) => Err(error),
            Ok(mut steps) => {
                use futures_util::StreamExt;
                let mut failed = None;
                while let Some(step) = soon("load", steps.next()).await {
                    failed = failed.or(step.err());
                }
                failed.map_or(Ok(()), Err)
            }
        };
        refused!(result, InvalidArgument);
    }
    // Other checks come and go meanwhile; what is to be seen is that it does not grow by these.
    let after = s.runtime.list_images(false).await.unwrap();
    assert!(after.iter().all(|image| !image.id.is_empty()), "{count}");
}

pub(super) async fn import(s: Subject) {
    if !s.can.image_archive || !s.can.archive {
        return;
    }
    let (container, _) = s.run(s.sh("echo imported > /own")).await;
    let exported = s.runtime.export_container(&container).await.unwrap();
    let root = bytes("export", exported).await;
    let name = s.image_name();
    let request = ImportRequest {
        tar: stream(&root),
        reference: Some(name.clone()),
        message: "a message".into(),
        changes: vec!["CMD [\"cat\", \"/own\"]".into(), "ENV PATH=/bin".into()],
        platform: None,
    };
    let id = soon("import", s.runtime.import_image(request))
        .await
        .unwrap();
    let image = s.runtime.inspect_image(&name).await.unwrap();
    assert_eq!((image.id.as_str(), image.layers.len()), (id.as_str(), 1));
    assert_eq!(image.comment, "a message");
    let mut spec = s.spec(&[]);
    spec.config.image = name;
    spec.config.cmd = None;
    assert_eq!(s.output(spec).await.1.stdout, "imported\n");
    let request = ImportRequest {
        tar: stream(b"not a tar at all, but long enough to be looked at as if it were one"),
        reference: None,
        message: String::new(),
        changes: Vec::new(),
        platform: None,
    };
    refused!(s.runtime.import_image(request).await, InvalidArgument);
}
