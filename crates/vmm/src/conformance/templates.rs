//! Templates and their clones.

use std::collections::HashSet;
use std::fs;

use super::{Bench, tests};
use crate::error::Error;
use crate::template::Template;

tests![
    clones_run_side_by_side_and_do_not_see_each_other,
    clones_have_random_numbers_of_their_own,
    a_template_is_not_changed_by_its_clones,
    a_template_of_another_shape_is_refused,
    a_damaged_template_is_refused_and_made_anew,
    what_can_not_become_a_template_is_refused,
    an_agent_that_was_hung_up_on_is_reached_in_the_clone,
];

async fn clones_run_side_by_side_and_do_not_see_each_other(bench: &Bench<'_>) {
    let template = bench.template().await;
    let mut clones = Vec::new();
    for number in 0..3 {
        let mut spec = bench.spec(&format!("side{number}"));
        let image = bench.image(&format!("side{number}.img"), 1 << 20, "");
        spec.layer = Some(crate::Disk::open(&image, "layer", false).unwrap());
        clones.push(bench.clone(&template, spec).await);
    }
    for (number, (_, talk)) in clones.iter_mut().enumerate() {
        let answer = talk.ask(&format!("write layer clone {number}")).await;
        assert_eq!(answer.unwrap(), "ok");
    }
    for (number, (_, talk)) in clones.iter_mut().enumerate() {
        let answer = talk.ask("read layer").await.unwrap();
        assert_eq!(answer, format!("clone {number}"));
    }
}

async fn clones_have_random_numbers_of_their_own(bench: &Bench<'_>) {
    let template = bench.template().await;
    let mut seen = HashSet::new();
    for number in 0..4 {
        let spec = bench.spec(&format!("random{number}"));
        let (machine, mut talk) = bench.clone(&template, spec).await;
        if talk.ask("generation").await.unwrap() != "yes" {
            // Then only what the agent adds to its random numbers keeps clones apart.
            println!("skipped: the kernel has no driver for the VM generation id");
            return;
        }
        // The kernel learns of its new generation by an interrupt, which is dealt with a moment
        // after the clone begins to run.
        talk.until("reseeded", |answer| answer == "yes")
            .await
            .unwrap();
        let bytes = talk.ask("random").await.unwrap();
        assert_eq!(bytes.len(), 32);
        assert!(seen.insert(bytes.clone()), "{bytes} again");
        machine.kill().await.unwrap();
    }
}

async fn a_template_is_not_changed_by_its_clones(bench: &Bench<'_>) {
    let template = bench.template().await;
    let files = ["ram", "state", "template.json"].map(|name| template.dir().join(name));
    let before = files.clone().map(|path| fs::read(path).unwrap());
    let (machine, mut talk) = bench.clone(&template, bench.spec("writes")).await;
    assert_eq!(talk.ask("touch 150").await.unwrap(), "ok");
    // Long enough for the guest to report what it has freed.
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    machine.set_memory(64 << 20).await.unwrap();
    let fewer = |text: &str| text.parse::<u64>().is_ok_and(|bytes| bytes < 60 << 20);
    talk.until("free", fewer).await.unwrap();
    machine.kill().await.unwrap();
    for (path, before) in files.iter().zip(before) {
        assert!(
            fs::read(path).unwrap() == before,
            "{} changed",
            path.display()
        );
    }
}

async fn a_template_of_another_shape_is_refused(bench: &Bench<'_>) {
    let template = bench.template().await;
    let mut spec = bench.spec("shape");
    spec.shape.memory *= 2;
    let error = bench.vmm.clone_from(&template, spec).await.err().unwrap();
    assert!(matches!(error, Error::Template { .. }), "{error}");
}

async fn a_damaged_template_is_refused_and_made_anew(bench: &Bench<'_>) {
    let dir = bench.dir.join("damaged");
    let spec = bench.spec("damaged");
    let key = bench.vmm.key(&spec.shape).unwrap();
    let template = bench.make_template(&dir, spec).await;
    // Damaged after it was opened: as long as it was, but nonsense.
    let state = dir.join("state");
    let length = fs::metadata(&state).unwrap().len();
    fs::write(&state, vec![0xa5; length as usize]).unwrap();
    let error = bench
        .vmm
        .clone_from(&template, bench.spec("nonsense"))
        .await
        .err()
        .unwrap();
    assert!(
        matches!(error, Error::Ended(_) | Error::Refused { .. }),
        "{error}"
    );
    fs::write(&state, "short").unwrap();
    let opened = Template::open(&dir, &key).unwrap_err();
    let cloned = bench.vmm.clone_from(&template, bench.spec("short")).await;
    for error in [opened, cloned.err().unwrap()] {
        assert!(matches!(error, Error::Template { .. }), "{error}");
    }
    let template = bench.make_template(&dir, bench.spec("anew")).await;
    bench.clone(&template, bench.spec("works")).await;
    let names = fs::read_dir(&bench.dir).unwrap();
    let stages = names.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().contains(".stage-")
    });
    assert_eq!(stages.count(), 0);
}

async fn what_can_not_become_a_template_is_refused(bench: &Bench<'_>) {
    let template = bench.template().await;
    let dir = bench.dir.join("refused");
    let (machine, mut talk) = bench.clone(&template, bench.spec("clone")).await;
    let error = machine.snapshot(&dir).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
    assert_eq!(talk.ask("ping").await.unwrap(), "pong");
    let mut spec = bench.spec("both");
    spec.template = true;
    let error = bench.vmm.clone_from(&template, spec).await.err().unwrap();
    assert!(matches!(error, Error::Invalid(_)), "{error}");
    let mut spec = bench.spec("plugged");
    spec.template = true;
    let (machine, _talk) = bench.boot(spec).await;
    let disk = bench.disk("extra", 1 << 20, "", false);
    machine.add_disk(disk).await.unwrap();
    let error = machine.snapshot(&dir).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported(_)), "{error}");
    assert!(!dir.exists());
}

async fn an_agent_that_was_hung_up_on_is_reached_in_the_clone(bench: &Bench<'_>) {
    let mut spec = bench.spec("hungup");
    spec.template = true;
    let (machine, talk) = bench.boot(spec).await;
    drop(talk);
    let template = machine.snapshot(&bench.dir.join("hungup")).await.unwrap();
    for id in ["hungup1", "hungup2"] {
        let (_machine, mut talk) = bench.clone(&template, bench.spec(id)).await;
        assert_eq!(talk.ask("ping").await.unwrap(), "pong");
    }
}
