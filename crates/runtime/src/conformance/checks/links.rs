//! Legacy links of the default bridge.

use super::super::Subject;
use super::super::support::{fails_saying, refused};
use crate::container::RemoveOptions;
use crate::spec::ContainerSpec;

const OF_LINK: RemoveOptions = RemoveOptions {
    force: false,
    volumes: false,
    link: true,
};

impl Subject {
    fn bridged(&self, argv: &[&str]) -> ContainerSpec {
        let mut spec = self.spec(argv);
        spec.host.network_mode = "bridge".into();
        spec
    }
}

pub(super) async fn shown_and_removed(s: Subject) {
    if !s.can.networks {
        return;
    }
    let mut spec = s.bridged(&["sleep", "1000"]);
    spec.config.env.push("COLOUR=green".into());
    let target = s.launch(spec).await;
    let target = s.inspect(&target).await.name;
    let script = "echo $OTHER_ONE_NAME $OTHER_ONE_ENV_COLOUR; exec sleep 1000";
    let mut spec = s.bridged(&["sh", "-c", script]);
    spec.host.links = vec![format!("{target}:other-one")];
    let id = s.launch(spec).await;
    let own = s.inspect(&id).await.name;
    s.until_logged(&id, &format!("/{own}/other-one green"))
        .await;
    let link = format!("{own}/other-one");
    let shown = s.inspect(&id).await.host_config.links;
    assert_eq!(shown, [format!("/{target}:/{link}")]);
    assert_eq!(s.inspect(&link).await.name, target);
    let all = s.runtime.list_containers(false).await.unwrap();
    let listed = all.iter().find(|container| container.name == target);
    assert_eq!(
        listed.expect("listed").linked_as,
        std::slice::from_ref(&link)
    );
    s.runtime.remove_container(&link, OF_LINK).await.unwrap();
    assert!(s.inspect(&id).await.host_config.links.is_empty());
    refused!(s.runtime.inspect_container(&link, false).await, NotFound);
    refused!(s.runtime.remove_container(&link, OF_LINK).await, NotFound);
    fails_saying("conflict", s.runtime.remove_container(&own, OF_LINK).await);
}

pub(super) async fn told_to_each_exec(s: Subject) {
    if !s.can.networks {
        return;
    }
    let mut spec = s.bridged(&["sleep", "1000"]);
    spec.config.exposed_ports = [("80/tcp".to_owned(), Default::default())].into();
    let target = s.launch(spec).await;
    let mut spec = s.bridged(&["sleep", "1000"]);
    spec.host.links = vec![format!("{target}:other")];
    spec.config.env.push("OTHER_PORT_80_TCP_PROTO=own".into());
    let id = s.launch(spec).await;
    let script = "echo $OTHER_PORT_80_TCP_ADDR $OTHER_PORT_80_TCP_PROTO $OWN";
    let told = || {
        let mut exec = s.exec_spec(&["sh", "-c", script]);
        exec.env = vec!["OWN=1".into()];
        exec
    };
    let address = async || {
        let networks = s.inspect(&target).await.network.networks;
        networks["bridge"].ip_address.clone()
    };
    let first = address().await;
    let done = s.exec(&id, told()).await;
    assert_eq!(done.stdout, format!("{first} own 1\n"));
    s.stop(&target, 0).await;
    let refused = s.runtime.create_exec(&id, told()).await;
    fails_saying("cannot link to a non running container", refused);
    // It comes back elsewhere.
    s.launch(s.bridged(&["sleep", "1000"])).await;
    s.start(&target).await;
    let second = address().await;
    assert_ne!(first, second);
    let done = s.exec(&id, told()).await;
    assert_eq!(done.stdout, format!("{second} own 1\n"));
    let own = s.inspect(&id).await.name;
    let link = format!("{own}/other");
    s.runtime.remove_container(&link, OF_LINK).await.unwrap();
    let done = s.exec(&id, told()).await;
    assert_eq!(done.stdout, "own 1\n");
}

pub(super) async fn that_lead_nowhere(s: Subject) {
    if !s.can.networks {
        return;
    }
    let mut spec = s.bridged(&["true"]);
    spec.host.links = vec!["nosuch:x".into()];
    // Not "not found": clients take that for the image.
    refused!(
        s.runtime.create_container(spec).await,
        InvalidArgument,
        "could not get container for nosuch"
    );
    let still = s.create(s.bridged(&["true"])).await;
    let mut spec = s.bridged(&["true"]);
    spec.host.links = vec![format!("{still}:x")];
    let id = s.create(spec).await;
    let started = s.runtime.start_container(&id).await;
    fails_saying("cannot link to a non running container", started);
    let mut spec = s.bridged(&["true"]);
    spec.host.links = vec![format!("{still}:x")];
    spec.host.network_mode = "host".into();
    refused!(
        s.runtime.create_container(spec).await,
        InvalidArgument,
        "can't be used with links"
    );
}
