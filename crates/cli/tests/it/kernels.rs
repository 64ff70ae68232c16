//! `system kernel`.

use std::fs;

use crate::harness::Daemon;

/// The least that is a kernel: an arm64 Image, which has its mark at 56.
fn image(release: &str) -> Vec<u8> {
    let mut bytes = vec![0; 56];
    bytes.extend(b"ARM\x64");
    bytes.extend(format!("Linux version {release} (nobody@nowhere)").bytes());
    bytes
}

#[tokio::test]
async fn installed_chosen_and_removed() {
    let daemon = Daemon::start();
    let none = daemon.run("system kernel inspect default").await.fails(1);
    assert!(none.contains("coracle system kernel install"), "{none}");
    fs::write(daemon.path("Image"), image("6.1.0-check")).unwrap();
    // A path is the caller's; a name is made of the release.
    assert_eq!(
        daemon.run("system kernel install Image").await.line(),
        "6.1.0-check"
    );
    let again = daemon.run("system kernel install Image").await.fails(1);
    assert!(again.contains("already"), "{again}");
    let named = "system kernel install --type file --name other Image";
    assert_eq!(daemon.run(named).await.line(), "other");
    assert_eq!(
        daemon.run("system kernel ls").await.ok(),
        "NAME          RELEASE       ARCHITECTURE   SIZE      MODULES   DEFAULT\n\
         6.1.0-check   6.1.0-check   aarch64        102B      0         yes\n\
         other         6.1.0-check   aarch64        102B      0         \n"
    );
    let shown = ["system", "kernel", "inspect", "-f", "{{.Format}} {{.Name}}"];
    let default = [&shown[..], &["default"]].concat();
    assert_eq!(daemon.args(&default).await.line(), "image 6.1.0-check");
    assert_eq!(daemon.run("system kernel set other").await.line(), "other");
    assert_eq!(daemon.args(&default).await.line(), "image other");
    let refused = daemon.run("system kernel rm other").await.fails(1);
    assert!(refused.contains("is the default"), "{refused}");
    let removed = daemon.run("system kernel rm 6.1.0-check other").await;
    assert_eq!(removed.code, 0, "{removed:?}");
    assert_eq!(daemon.run("system kernel ls -q").await.ok(), "");
}

#[tokio::test]
async fn what_cannot_be_installed() {
    let daemon = Daemon::start();
    fs::write(daemon.path("nonsense"), "nonsense").unwrap();
    for (line, words) in [
        ("install nonsense", "not a usable kernel image"),
        ("install nowhere", "No such file"),
        ("install --type package nonsense", "no Debian package"),
        ("install --module x nonsense", "only packages have modules"),
        ("install --name a/b nonsense", "invalid kernel name"),
        ("set nosuch", "No such kernel: nosuch"),
        ("rm nosuch", "No such kernel: nosuch"),
        ("inspect nosuch", "No such kernel: nosuch"),
    ] {
        let said = daemon.run(&format!("system kernel {line}")).await.fails(1);
        assert!(said.contains(words), "{line}: {said}");
    }
    assert_eq!(daemon.run("system kernel ls -q").await.ok(), "");
}
