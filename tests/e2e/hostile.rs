//! Archives that lie or try to leave their root, see `fixtures/hostile.py`.

use std::fs;
use std::path::Path;

use coracle_tests::{Daemon, fixture};
use serde_json::Value;

const ESCAPE: &str = "coracle-escape";

/// Paths called as what tries to get out, but those inside of an unpacked layer.
fn escaped(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![dir.to_owned()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let inside = entry.path().to_string_lossy().contains("/fs/");
            if entry.file_name() == ESCAPE && !inside {
                found.push(entry.path().display().to_string());
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !inside {
                todo.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn each_is_refused_or_contained() {
    let Some(d) = Daemon::start() else { return };
    let sentinel = Path::new("/tmp/coracle-sentinel");
    fs::write(sentinel, "").unwrap();
    let passwd = fs::metadata("/etc/passwd").unwrap();
    let folder = fixture("hostile");
    let expect: Value =
        serde_json::from_slice(&fs::read(folder.join("expect.json")).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for (name, expected) in expect.as_object().unwrap() {
        let file = folder.join(format!("{name}.tar")).display().to_string();
        let load = d.docker(&["load", "-q", "-i", &file]);
        let image = format!("hostile:{name}");
        // What loads may be refused yet when it is unpacked, which is at the first use at the latest.
        let used = load.code == 0 && d.docker(&["create", "--name", "victim", &image]).code == 0;
        if expected == "refuse" && used {
            wrong.push(format!("{name}: not refused: {load}"));
        }
        if load.code != 0 && load.stderr.trim().is_empty() {
            wrong.push(format!("{name}: refused without a word"));
        }
        if used {
            d.ok(&["rm", "victim"]);
        }
        d.docker(&["rmi", "-f", &image]);
        for place in ["/", "/tmp", "/etc"] {
            if Path::new(place).join(ESCAPE).exists() {
                wrong.push(format!("{name}: wrote {place}/{ESCAPE}"));
                let _ = fs::remove_file(Path::new(place).join(ESCAPE));
            }
        }
        if !sentinel.exists() {
            wrong.push(format!("{name}: removed a file of the host's"));
            fs::write(sentinel, "").unwrap();
        }
    }
    fs::remove_file(sentinel).unwrap();
    wrong.extend(escaped(d.dir()));
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata("/etc/passwd").unwrap().nlink(), passwd.nlink());
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The daemon is well, and nothing is left of them.
    assert_eq!(d.ok(&["run", "--rm", "busybox", "echo", "well"]), "well");
    assert_eq!(d.ok(&["images", "-q", "hostile"]), "");
}

#[test]
fn nothing_is_kept_of_what_was_refused() {
    let Some(d) = Daemon::start() else { return };
    let files = || {
        let line = format!(
            "find {} -path '*blobs*' -type f | sort; find {0} -path '*ingest*' -type f",
            d.dir().join("data").display()
        );
        d.inside("sh", &["-c", &line]).ok()
    };
    let before = files();
    for name in [
        "wrong-digest", "truncated-gzip", "dotdot", "missing-config", "archive-no-layer", "garbage",
    ] {
        let file = fixture("hostile")
            .join(format!("{name}.tar"))
            .display()
            .to_string();
        if d.docker(&["load", "-q", "-i", &file]).code == 0 {
            d.docker(&["rmi", "-f", &format!("hostile:{name}")]);
        }
    }
    d.ok(&["image", "prune", "-f"]);
    assert_eq!(files(), before);
}
