//! Images with oddities in their layers, see `fixtures/odd.py`: each checks itself when it is run.

use coracle_tests::{Daemon, fixture};

#[test]
fn each_is_as_meant() {
    let Some(d) = Daemon::having(&["odd"]) else {
        return;
    };
    let tags = d.ok(&["images", "--format", "{{.Tag}}", "odd"]);
    assert_eq!(tags.lines().count(), 12, "{tags}");
    for tag in tags.lines() {
        let output = d.docker(&["run", "--rm", "--network", "none", &format!("odd:{tag}")]);
        assert_eq!(output.stdout.trim(), "good", "odd:{tag}: {output}");
    }
}

#[test]
fn each_survives_save_and_load() {
    let Some(d) = Daemon::having(&["odd"]) else {
        return;
    };
    let tags = d.ok(&["images", "--format", "odd:{{.Tag}}", "odd"]);
    let names: Vec<&str> = tags.lines().collect();
    let file = d.dir().join("odd.tar").display().to_string();
    d.ok(&[&["save", "-o", &file], &names[..]].concat());
    d.ok(&[&["rmi"], &names[..]].concat());
    d.ok(&["load", "-q", "-i", &file]);
    for name in names {
        assert_eq!(
            d.docker(&["run", "--rm", "--network", "none", name])
                .stdout
                .trim(),
            "good",
            "{name}"
        );
    }
}

#[test]
fn sparse_files_stay_sparse() {
    let Some(d) = Daemon::having(&[]) else { return };
    d.ok(&[
        "load",
        "-q",
        "-i",
        &fixture("sparse").join("oci.tar").display().to_string(),
    ]);
    assert_eq!(
        d.ok(&["run", "--rm", "--network", "none", "sparse"]),
        "good"
    );
}

#[test]
fn a_hundred_thousand_files() {
    let Some(d) = Daemon::having(&["many-files"]) else {
        return;
    };
    let count = d.ok(&[
        "run", "--rm", "--network", "none", "many-files", "sh", "-c", "find /files -type f | wc -l",
    ]);
    assert_eq!(count, "100000");
    d.ok(&["rmi", "many-files"]);
}

#[test]
fn one_platform_of_several() {
    let Some(d) = Daemon::having(&[]) else { return };
    d.ok(&[
        "load",
        "-q",
        "-i",
        &fixture("platforms").join("oci.tar").display().to_string(),
    ]);
    let own = d.ok(&["version", "--format", "{{.Server.Arch}}"]);
    assert_eq!(
        d.ok(&["run", "--rm", "--network", "none", "platforms"]),
        own
    );
}
