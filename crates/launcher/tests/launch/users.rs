//! Users, groups, capabilities.

use std::collections::HashMap;

use coracle_launcher::Error;
use serde_json::json;

use crate::fixture::{Bundle, refused, run};

crate::tests![
    users_by_name,
    groups_are_added,
    unknown_users_are_refused,
    hostile_passwd_files,
    docker_capabilities,
    all_sets,
    no_capabilities,
    what_the_launcher_lacks_is_told,
    umask,
    no_new_privileges,
];

const STATUS: &str = "cat /proc/self/status";

fn status(text: &str) -> HashMap<String, String> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.into(), value.trim().into()))
        .collect()
}

fn users_by_name() {
    let id = |user: &str| {
        let bundle = Bundle::sh("id -u; id -g; id -G; echo $HOME");
        let mut request = bundle.request();
        request.user = Some(user.into());
        run(request).stdout.replace('\n', " ")
    };
    // busybox tells the group twice: as the group, and with the additional ones.
    assert_eq!(id("bob"), "1000 1001 1001 29 /home/bob ");
    assert_eq!(id("bob:audio"), "1000 29 29 /home/bob ");
    assert_eq!(id("77:88"), "77 88 88 / ");
    assert_eq!(id(""), "0 0 0 /root ");
}

fn groups_are_added() {
    let bundle = Bundle::sh("id -G");
    let mut request = bundle.request();
    request.groups = vec!["audio".into(), "4321".into()];
    assert_eq!(run(request).stdout, "0 29 4321\n");
    let mut bundle = Bundle::sh("id -G");
    bundle.spec["process"]["user"] = json!({"uid": 5, "gid": 6, "additionalGids": [7, 8]});
    assert_eq!(bundle.stdout(), "6 7 8\n");
}

fn unknown_users_are_refused() {
    let bundle = Bundle::new();
    let mut request = bundle.request();
    request.user = Some("foo".into());
    let error = refused(request);
    assert_eq!(
        error.to_string(),
        "unable to find user foo: no matching entries in passwd file"
    );
    assert!(matches!(error, Error::Failed(failure)
        if failure.stage == coracle_launcher::Stage::User));
}

fn hostile_passwd_files() {
    use std::os::unix::fs::symlink;
    let bundle = Bundle::new();
    let passwd = bundle.root().join("etc/passwd");
    std::fs::remove_file(&passwd).unwrap();
    let with_user = || {
        let mut request = bundle.request();
        request.user = Some("daemon".into());
        refused(request).to_string()
    };
    assert!(with_user().contains("no matching entries"));
    // The host's passwd file knows a daemon.
    symlink("../../../../../../../etc/passwd", &passwd).unwrap();
    assert!(with_user().contains("symbolic links"), "{}", with_user());
    std::fs::remove_file(&passwd).unwrap();
    symlink("/dev/zero", &passwd).unwrap();
    assert!(with_user().contains("no regular file"));
    std::fs::remove_file(&passwd).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &passwd,
        rustix::fs::FileType::Fifo,
        mode,
        0,
    )
    .unwrap();
    assert!(with_user().contains("no regular file"));
}

fn docker_capabilities() {
    let mut bundle = Bundle::new();
    bundle.args(&["cat", "/proc/self/status"]);
    let status = status(&bundle.stdout());
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        assert_eq!(status[set], "00000000a80425fb");
    }
    assert_eq!(status["CapInh"], "0000000000000000");
    assert_eq!(status["CapAmb"], "0000000000000000");
    assert_eq!(status["NoNewPrivs"], "0");
    assert_eq!(status["SigIgn"], "0000000000000000");
    assert_eq!(status["SigBlk"], "0000000000000000");
}

fn all_sets() {
    let mut bundle = Bundle::sh(STATUS);
    bundle.spec["process"]["user"] = json!({"uid": 1000, "gid": 0});
    let (few, one) = (["CAP_NET_RAW", "CAP_KILL", "CAP_CHOWN"], ["CAP_NET_RAW"]);
    bundle.spec["process"]["capabilities"] = json!({
        "bounding": few, "permitted": few, "effective": one, "inheritable": few, "ambient": one,
    });
    let found = status(&bundle.stdout());
    assert_eq!(found["CapBnd"], "0000000000002021");
    assert_eq!(found["CapInh"], "0000000000002021");
    // For a user other than root only the ambient ones outlive the execution.
    for set in ["CapAmb", "CapPrm", "CapEff"] {
        assert_eq!(found[set], "0000000000002000", "{set}");
    }
}

fn no_capabilities() {
    let mut bundle = Bundle::sh(STATUS);
    bundle.spec["process"]["capabilities"] = json!({});
    let found = status(&bundle.stdout());
    for set in ["CapBnd", "CapInh", "CapAmb", "CapPrm", "CapEff"] {
        assert_eq!(found[set], "0000000000000000", "{set}");
    }
}

fn what_the_launcher_lacks_is_told() {
    let mut bundle = Bundle::new();
    let own = rustix::thread::capabilities(None).unwrap().permitted;
    if own.contains(rustix::thread::CapabilitySet::SYS_RESOURCE) {
        println!("skipped: nothing is lacking here");
        return;
    }
    bundle.spec["process"]["capabilities"] = json!({"bounding": ["CAP_SYS_RESOURCE"]});
    let created = coracle_launcher::create(&bundle.request()).unwrap();
    assert_eq!(
        created.warnings(),
        ["CAP_SYS_RESOURCE is left out: the launcher doesn't have it"]
    );
}

fn umask() {
    let mut bundle = Bundle::sh("umask");
    assert_eq!(bundle.stdout(), "0022\n");
    bundle.spec["process"]["user"] = json!({"uid": 0, "gid": 0, "umask": 0o77});
    assert_eq!(bundle.stdout(), "0077\n");
}

fn no_new_privileges() {
    let mut bundle = Bundle::sh(STATUS);
    bundle.spec["process"]["noNewPrivileges"] = json!(true);
    assert_eq!(status(&bundle.stdout())["NoNewPrivs"], "1");
}
