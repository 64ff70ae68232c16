#![allow(missing_docs, clippy::unwrap_used, clippy::print_stdout)]
use coracle_vmm::conformance::*;
use coracle_vmm::*;
use std::time::Instant;
fn main() {
    run_if_helper();
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    rt.block_on(async {
        let dir = tempfile::tempdir().unwrap();
        let guest = Guest::make(dir.path()).unwrap();
        let q = Qemu::discover().unwrap();
        let mut spec = guest.machine(dir.path(), "t");
        spec.template = true;
        spec.user = Some((77001, 77001));
        let key = q.key(&spec.shape).unwrap();
        let t = Instant::now();
        let m = match q.boot(spec).await {
            Ok(m) => m,
            Err(e) => {
                println!("{e}");
                return;
            }
        };
        println!("boot {:?} warnings {:?}", t.elapsed(), m.warnings());
        let mut a = Talk::new(m.agent().unwrap());
        let r = tokio::select! { r = a.ask("ping") => r.unwrap(), e = m.wait() => e.to_string() };
        println!(
            "ping {r} {:?} {}",
            t.elapsed(),
            std::fs::read_to_string(dir.path().join("t.console")).unwrap()
        );
        for c in ["disks", "clock", "memory"] {
            println!("{c}: {}", a.ask(c).await.unwrap());
        }
        let t = Instant::now();
        let tpl = m.snapshot(&dir.path().join("tpl")).await.unwrap();
        println!("snapshot {:?} {:?}", t.elapsed(), m.wait().await);
        assert_eq!(tpl.key(), key);
        for i in 0..10 {
            let mut spec = guest.machine(dir.path(), &format!("c{i}"));
            spec.user = Some((77002, 77002));
            let t = Instant::now();
            let m = q.clone_from(&tpl, spec).await.unwrap();
            let started = t.elapsed();
            let mut a = Talk::new(m.agent().unwrap());
            let p = a.ask("ping").await.unwrap();
            println!(
                "clone {started:?} {p} {:?} {}",
                t.elapsed(),
                a.ask("random").await.unwrap()
            );
            if i == 9 {
                println!("{}", a.ask("disks").await.unwrap());
                println!(
                    "{}",
                    std::fs::read_to_string(format!("/proc/{}/status", m.pid())).unwrap()
                );
            }
            m.kill().await.unwrap();
        }
    });
}
