//! What a runtime does not declare it refuses as such.

use super::super::Subject;
use super::super::support::{not_supported, stream};
use crate::archive::ExtractOptions;
use crate::container::UpdateOptions;
use crate::image::{CommitRequest, ImportRequest, PullRequest, PushRequest, RegistryAuth};
use crate::io::AttachOptions;
use crate::kernel::KernelSpec;
use crate::network::{ConnectRequest, NetworkSpec};
use crate::secret::{SecretSpec, SecretUpdate};
use crate::volume::VolumeSpec;

pub(super) async fn what_is_not_declared_is_not_supported(s: Subject) {
    let id = s.sleeper().await;
    let (can, r) = (s.can, &s.runtime);
    if !can.pause {
        not_supported("pause", r.pause_container(&id).await);
        not_supported("pause", r.unpause_container(&id).await);
    }
    if !can.exec {
        not_supported("exec", r.create_exec(&id, s.exec_spec(&["true"])).await);
    }
    if !can.attach {
        not_supported(
            "attach",
            r.attach_container(&id, AttachOptions::default()).await,
        );
    }
    if !can.stats {
        not_supported("stats", r.container_stats(&id, false).await);
    }
    if !can.top {
        not_supported("top", r.container_top(&id, "").await);
    }
    if !can.update {
        not_supported(
            "update",
            r.update_container(&id, UpdateOptions::default()).await,
        );
    }
    if !can.archive {
        not_supported("archive", r.stat_path(&id, "/").await);
        not_supported("archive", r.read_path(&id, "/").await);
        let options = ExtractOptions::default();
        not_supported(
            "archive",
            r.write_path(&id, "/", options, stream(b"")).await,
        );
        not_supported("archive", r.export_container(&id).await);
    }
    if !can.commit {
        not_supported("commit", r.container_changes(&id).await);
        let request = CommitRequest {
            container: id.clone(),
            ..CommitRequest::default()
        };
        not_supported("commit", r.commit_container(request).await);
    }
    if !can.registry {
        let request = PullRequest {
            reference: s.image.clone(),
            ..PullRequest::default()
        };
        not_supported("registry", r.pull_image(request).await);
        let request = PushRequest {
            reference: s.image.clone(),
            ..PushRequest::default()
        };
        not_supported("registry", r.push_image(request).await);
        not_supported("registry", r.registry_login(RegistryAuth::default()).await);
    }
    if !can.image_archive {
        not_supported(
            "image archives",
            r.save_images(std::slice::from_ref(&s.image)).await,
        );
        not_supported("image archives", r.load_images(stream(b"")).await);
        let request = ImportRequest {
            tar: stream(b""),
            reference: None,
            message: String::new(),
            changes: Vec::new(),
            platform: None,
        };
        not_supported("image archives", r.import_image(request).await);
    }
    if !can.build {
        not_supported(
            "build",
            r.build_image(stream(b""), bytes::Bytes::new()).await,
        );
    }
    if !can.networks {
        let spec = NetworkSpec {
            name: s.name(),
            ..NetworkSpec::default()
        };
        not_supported("networks", r.create_network(spec).await);
        not_supported("networks", r.remove_network("bridge").await);
        let request = ConnectRequest {
            container: id.clone(),
            ..ConnectRequest::default()
        };
        not_supported("networks", r.connect_network("bridge", request).await);
        not_supported("networks", r.disconnect_network("bridge", &id, false).await);
    }
    if !can.volumes {
        not_supported("volumes", r.create_volume(VolumeSpec::default()).await);
        not_supported("volumes", r.remove_volume("nosuch", false).await);
    }
    if !can.secrets {
        let (spec, update) = (SecretSpec::default(), SecretUpdate::default());
        not_supported("secrets", r.list_secrets().await);
        not_supported("secrets", r.inspect_secret("nosuch").await);
        not_supported("secrets", r.create_secret(spec.clone()).await);
        not_supported("secrets", r.update_secret("nosuch", update.clone()).await);
        not_supported("secrets", r.remove_secret("nosuch").await);
        not_supported("secrets", r.rotate_secret_key().await);
        not_supported("configs", r.list_configs().await);
        not_supported("configs", r.inspect_config("nosuch").await);
        not_supported("configs", r.create_config(spec).await);
        not_supported("configs", r.update_config("nosuch", update).await);
        not_supported("configs", r.remove_config("nosuch").await);
    }
    if !can.kernels {
        not_supported("kernels", r.list_kernels().await);
        not_supported("kernels", r.inspect_kernel("default").await);
        not_supported("kernels", r.install_kernel(KernelSpec::default()).await);
        not_supported("kernels", r.set_default_kernel("nosuch").await);
        not_supported("kernels", r.remove_kernel("nosuch").await);
    }
}
