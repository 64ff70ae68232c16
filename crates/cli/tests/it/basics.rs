//! Help, usage, completions, manual pages.

use crate::harness::{Daemon, binary, finish};

async fn alone(line: &str) -> crate::harness::Done {
    let home = tempfile::tempdir().unwrap();
    let mut command = binary(home.path());
    command.args(line.split_whitespace());
    finish(command, b"").await
}

#[tokio::test]
async fn help_has_all_verbs_and_needs_no_daemon() {
    let help = alone("--help").await.ok();
    for verb in ["run", "exec", "ps", "image", "system", "completion"] {
        assert!(help.contains(&format!("\n  {verb} ")), "{verb} in {help}");
    }
    assert_eq!(alone("help").await.ok(), help);
    assert!(!help.contains("launch"));
    let none = alone("").await;
    assert_eq!((none.code, none.out.as_str()), (1, ""));
    assert!(none.err.contains("Usage"));
}

#[tokio::test]
async fn every_verb_has_help() {
    let help = alone("--help").await.ok();
    let verbs: Vec<&str> = help
        .lines()
        .filter(|line| line.starts_with("  ") && !line.trim_start().starts_with('-'))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|verb| verb.chars().all(|c| c.is_ascii_lowercase()))
        .collect();
    assert!(verbs.len() > 40, "{verbs:?}");
    for verb in verbs {
        let text = alone(&format!("{verb} --help")).await.ok();
        assert!(text.contains("Usage: coracle"), "{verb}: {text}");
    }
    let run = alone("container run --help").await.ok();
    assert!(run.contains("IMAGE [COMMAND] [ARG...]"), "{run}");
    assert!(run.contains("-h, --hostname"), "{run}");
    assert!(run.contains("--device-read-bps"), "{run}");
}

#[tokio::test]
async fn what_cannot_be_read_is_named() {
    let error = alone("run --bogus busybox").await.fails(125);
    assert!(error.contains("'--bogus'"), "{error}");
    assert!(error.contains("hint: "), "{error}");
    let error = alone("container create --memory").await.fails(125);
    assert!(error.contains("--memory"), "{error}");
    let error = alone("ps --bogus").await.fails(1);
    assert!(
        error.contains("'--bogus'") && error.contains("Usage: coracle ps"),
        "{error}"
    );
    let error = alone("image bogus").await.fails(1);
    assert!(error.contains("bogus"), "{error}");
    assert!(alone("rm").await.fails(1).contains("CONTAINER"));
}

#[tokio::test]
async fn switches_may_have_values() {
    let daemon = Daemon::start();
    let container = daemon
        .run("create --rm=true -it=false busybox")
        .await
        .line();
    let line = format!("inspect -f {{{{.HostConfig.AutoRemove}}}}{{{{.Config.Tty}}}} {container}");
    assert_eq!(daemon.run(&line).await.line(), "truefalse");
}

#[tokio::test]
async fn completions_and_pages_are_made() {
    for (shell, part) in [
        ("bash", "_coracle()"),
        ("zsh", "#compdef coracle"),
        ("fish", "complete -c coracle"),
    ] {
        let script = alone(&format!("completion {shell}")).await.ok();
        assert!(script.contains(part), "{shell}");
        assert!(script.contains("device-read-bps"), "{shell}");
    }
    let home = tempfile::tempdir().unwrap();
    let mut command = binary(home.path());
    command.args(["man", "pages"]);
    finish(command, b"").await.ok();
    let page = std::fs::read_to_string(home.path().join("pages/coracle-run.1")).unwrap();
    assert!(page.contains("entrypoint"));
    assert!(home.path().join("pages/coracle-system-start.1").exists());
}

#[tokio::test]
async fn version_tells_of_both() {
    let daemon = Daemon::start();
    let shown = daemon.run("version").await.ok();
    assert!(
        shown.contains("Client:") && shown.contains("Server:"),
        "{shown}"
    );
    let version = daemon
        .args(&["version", "-f", "{{.Server.ApiVersion}}"])
        .await
        .line();
    assert_eq!(version, "1.47");
    let json = daemon.run("version --format json").await.ok();
    assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok());
    assert!(daemon.run("-v").await.ok().starts_with("coracle "));
}
