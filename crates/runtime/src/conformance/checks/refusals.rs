//! What a container's state does not allow, and names that stand for nothing.

use super::super::Subject;
use super::super::support::{refused, stream};
use crate::Status;
use crate::archive::ExtractOptions;
use crate::container::{RemoveOptions, StopOptions, UpdateOptions, WaitCondition};
use crate::exec::StartExec;
use crate::image::{CommitRequest, RemoveImageOptions};
use crate::io::{AttachOptions, LogOptions, TerminalSize};

pub(super) async fn of_a_created_container(s: Subject) {
    let id = s.create(s.spec(&["sleep", "1000"])).await;
    let r = &s.runtime;
    refused!(
        r.kill_container(&id, "KILL").await,
        InvalidState,
        "is not running"
    );
    if s.can.pause {
        refused!(r.pause_container(&id).await, InvalidState, "is not running");
    }
    if s.can.exec {
        let spec = s.exec_spec(&["true"]);
        refused!(
            r.create_exec(&id, spec).await,
            InvalidState,
            "is not running"
        );
    }
    if s.can.top {
        refused!(
            r.container_top(&id, "").await,
            InvalidState,
            "is not running"
        );
    }
    let size = TerminalSize { rows: 1, cols: 1 };
    refused!(
        r.resize_container(&id, size).await,
        InvalidState,
        "is not running"
    );
    assert_eq!(s.status(&id).await, Status::Created);
}

pub(super) async fn of_an_exited_container(s: Subject) {
    let (id, _) = s.run(s.spec(&["true"])).await;
    let r = &s.runtime;
    refused!(
        r.kill_container(&id, "TERM").await,
        InvalidState,
        "cannot kill container"
    );
    if s.can.pause {
        refused!(r.pause_container(&id).await, InvalidState, "is not running");
    }
    if s.can.exec {
        let spec = s.exec_spec(&["true"]);
        refused!(
            r.create_exec(&id, spec).await,
            InvalidState,
            "is not running"
        );
    }
    if s.can.top {
        refused!(
            r.container_top(&id, "").await,
            InvalidState,
            "is not running"
        );
    }
    assert_eq!(s.status(&id).await, Status::Exited);
}

pub(super) async fn unpausing_what_is_not_paused(s: Subject) {
    if !s.can.pause {
        return;
    }
    let created = s.create(s.spec(&["true"])).await;
    let (exited, _) = s.run(s.spec(&["true"])).await;
    for id in [created, exited, s.sleeper().await] {
        refused!(
            s.runtime.unpause_container(&id).await,
            InvalidState,
            "is not paused"
        );
    }
}

pub(super) async fn of_a_running_container(s: Subject) {
    let id = s.sleeper().await;
    let r = &s.runtime;
    let options = RemoveOptions::default();
    refused!(
        r.remove_container(&id, options).await,
        InvalidState,
        "is running: stop the container before removing or force remove"
    );
    assert_eq!(s.status(&id).await, Status::Running);
}

pub(super) async fn of_a_paused_container(s: Subject) {
    if !s.can.pause {
        return;
    }
    let id = s.sleeper().await;
    let r = &s.runtime;
    r.pause_container(&id).await.unwrap();
    refused!(
        r.pause_container(&id).await,
        InvalidState,
        "is already paused"
    );
    refused!(
        r.start_container(&id).await,
        InvalidState,
        "cannot start a paused container"
    );
    refused!(
        r.remove_container(&id, RemoveOptions::default()).await,
        InvalidState,
        "is paused and must be unpaused first"
    );
    if s.can.exec {
        let spec = s.exec_spec(&["true"]);
        refused!(
            r.create_exec(&id, spec).await,
            InvalidState,
            "unpause the container before exec"
        );
    }
    if s.can.attach {
        let options = AttachOptions {
            stdout: true,
            stream: true,
            ..AttachOptions::default()
        };
        refused!(
            r.attach_container(&id, options).await,
            InvalidState,
            "unpause the container before attach"
        );
    }
    assert_eq!(s.status(&id).await, Status::Paused);
}

pub(super) async fn of_an_exec_whose_container_was_paused(s: Subject) {
    if !s.can.pause || !s.can.exec {
        return;
    }
    let id = s.sleeper().await;
    let exec = s.create_exec(&id, s.exec_spec(&["true"])).await;
    s.runtime.pause_container(&id).await.unwrap();
    refused!(
        s.runtime.start_exec(&exec, StartExec::default()).await,
        InvalidState,
        "is paused"
    );
    s.runtime.unpause_container(&id).await.unwrap();
    // The refusal did not use it up.
    s.start_exec(&exec).await;
    assert_eq!(s.exec_ended(&exec).await, 0);
}

pub(super) async fn of_a_restarting_container(s: Subject) {
    let mut spec = s.sh("exit 1");
    spec.host.restart_policy.name = "always".into();
    let id = s.launch(spec).await;
    // Late enough for the pause between two runs to be long.
    s.until(&id, "it waits for long", |container| {
        container.restart_count >= 4 && container.state.status == Status::Restarting
    })
    .await;
    let r = &s.runtime;
    refused!(
        r.remove_container(&id, RemoveOptions::default()).await,
        InvalidState,
        "is restarting: stop the container before removing or force remove"
    );
    if s.can.exec {
        refused!(
            r.create_exec(&id, s.exec_spec(&["true"])).await,
            InvalidState
        );
    }
    if s.can.attach {
        let options = AttachOptions {
            stdout: true,
            stream: true,
            ..AttachOptions::default()
        };
        refused!(
            r.attach_container(&id, options).await,
            InvalidState,
            "is restarting"
        );
    }
    s.remove(&id).await;
    s.until_gone(&id).await;
}

pub(super) async fn invalid_signals(s: Subject) {
    let id = s.sleeper().await;
    for (signal, words) in [
        ("NOSUCH", "invalid signal"),
        ("0", "invalid signal"),
        ("65", "does not support signal 65"),
        ("-1", "does not support signal -1"),
        ("SIG", "invalid signal"),
        ("KILL TERM", "invalid signal"),
    ] {
        refused!(
            s.runtime.kill_container(&id, signal).await,
            InvalidArgument,
            words
        );
    }
    let options = StopOptions {
        signal: Some("NOSUCH".into()),
        timeout: Some(0),
    };
    refused!(
        s.runtime.stop_container(&id, options).await,
        InvalidArgument,
        "invalid signal"
    );
    assert_eq!(s.status(&id).await, Status::Running);
    for signal in ["winch", "SIGWINCH", "28"] {
        s.kill(&id, signal).await;
    }
}

/// Every method that takes a container's name.
pub(super) async fn unknown_containers(s: Subject) {
    let r = &s.runtime;
    for name in ["nosuch-container", "ffffffffffffffffffffffff", ""] {
        let words = if name.is_empty() {
            ""
        } else {
            "no such container"
        };
        refused!(r.inspect_container(name, false).await, NotFound, words);
        refused!(r.start_container(name).await, NotFound, words);
        refused!(
            r.stop_container(name, StopOptions::default()).await,
            NotFound,
            words
        );
        refused!(
            r.restart_container(name, StopOptions::default()).await,
            NotFound,
            words
        );
        refused!(r.kill_container(name, "KILL").await, NotFound, words);
        refused!(
            r.wait_container(name, WaitCondition::default()).await,
            NotFound,
            words
        );
        refused!(r.rename_container(name, "other").await, NotFound, words);
        refused!(
            r.remove_container(name, RemoveOptions::default()).await,
            NotFound,
            words
        );
        refused!(
            r.container_logs(name, LogOptions::default()).await,
            NotFound,
            words
        );
        let size = TerminalSize { rows: 1, cols: 1 };
        refused!(r.resize_container(name, size).await, NotFound, words);
        if s.can.pause {
            refused!(r.pause_container(name).await, NotFound, words);
            refused!(r.unpause_container(name).await, NotFound, words);
        }
        if s.can.update {
            refused!(
                r.update_container(name, UpdateOptions::default()).await,
                NotFound,
                words
            );
        }
        if s.can.attach {
            refused!(
                r.attach_container(name, AttachOptions::default()).await,
                NotFound,
                words
            );
        }
        if s.can.top {
            refused!(r.container_top(name, "").await, NotFound, words);
        }
        if s.can.stats {
            refused!(r.container_stats(name, false).await, NotFound, words);
        }
        if s.can.exec {
            refused!(
                r.create_exec(name, s.exec_spec(&["true"])).await,
                NotFound,
                words
            );
        }
        if s.can.archive {
            refused!(r.stat_path(name, "/").await, NotFound, words);
            refused!(r.read_path(name, "/").await, NotFound, words);
            let options = ExtractOptions::default();
            refused!(
                r.write_path(name, "/", options, stream(b"")).await,
                NotFound,
                words
            );
            refused!(r.export_container(name).await, NotFound, words);
        }
        if s.can.commit {
            refused!(r.container_changes(name).await, NotFound, words);
            let request = CommitRequest {
                container: name.into(),
                ..CommitRequest::default()
            };
            refused!(r.commit_container(request).await, NotFound, words);
        }
    }
}

pub(super) async fn unknown_execs(s: Subject) {
    if !s.can.exec {
        return;
    }
    let r = &s.runtime;
    refused!(r.inspect_exec("nosuch").await, NotFound, "no such exec");
    refused!(
        r.start_exec("nosuch", StartExec::default()).await,
        NotFound,
        "no such exec"
    );
    let size = TerminalSize { rows: 1, cols: 1 };
    refused!(
        r.resize_exec("nosuch", size).await,
        NotFound,
        "no such exec"
    );
}

pub(super) async fn unknown_images(s: Subject) {
    let r = &s.runtime;
    let unknown = format!("conformance/nosuch-{}", s.mark);
    let mut spec = s.spec(&["true"]);
    let name = spec.name.clone();
    spec.config.image.clone_from(&unknown);
    refused!(
        r.create_container(spec).await,
        ImageNotFound,
        "no such image"
    );
    // Nothing is left: the name is free.
    let mut spec = s.spec(&["true"]);
    spec.name = name;
    s.create(spec).await;
    refused!(
        r.inspect_image(&unknown).await,
        ImageNotFound,
        "no such image"
    );
    refused!(
        r.image_history(&unknown).await,
        ImageNotFound,
        "no such image"
    );
    refused!(
        r.tag_image(&unknown, "conformance/other").await,
        ImageNotFound,
        "no such image"
    );
    let options = RemoveImageOptions::default();
    refused!(
        r.remove_image(&unknown, options).await,
        ImageNotFound,
        "no such image"
    );
    if s.can.image_archive {
        refused!(
            r.save_images(&[unknown]).await,
            ImageNotFound,
            "no such image"
        );
    }
    let mut spec = s.spec(&["true"]);
    spec.config.image = "Not A Reference".into();
    refused!(r.create_container(spec).await, InvalidArgument, "reference");
}
