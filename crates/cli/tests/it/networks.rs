//! `network`.

use crate::harness::Daemon;

#[tokio::test]
async fn made_used_and_removed() {
    let daemon = Daemon::start();
    let line = "network create --subnet 10.9.0.0/24 --gateway 10.9.0.1 --label a=b mine";
    let id = daemon.run(line).await.line();
    assert_eq!(id.len(), 64);
    let table = daemon.run("network ls").await.ok();
    assert!(
        table.starts_with("NETWORK ID     NAME      DRIVER    SCOPE\n"),
        "{table}"
    );
    assert!(table.contains("mine      bridge    local"), "{table}");
    assert_eq!(
        daemon.run("network ls -q -f label=a=b").await.line(),
        &id[..12]
    );
    let subnet = [
        "network",
        "inspect",
        "-f",
        "{{(index .IPAM.Config 0).Subnet}}",
        "mine",
    ];
    assert_eq!(daemon.args(&subnet).await.line(), "10.9.0.0/24");
    daemon.sleeper("web").await;
    daemon
        .run("network connect --ip 10.9.0.9 --alias other mine web")
        .await
        .ok();
    let address = [
        "inspect",
        "-f",
        "{{.NetworkSettings.Networks.mine.IPAddress}}",
        "web",
    ];
    assert_eq!(daemon.args(&address).await.line(), "10.9.0.9");
    daemon.run("network rm mine").await.fails(1);
    daemon.run("network disconnect mine web").await.ok();
    assert_eq!(daemon.run("network delete mine").await.line(), "mine");
    daemon.run("network rm mine").await.fails(1);
    assert_eq!(daemon.run("network rm -f mine").await.code, 0);
}

#[tokio::test]
async fn what_lies_in_no_subnet_is_refused() {
    let daemon = Daemon::start();
    for (line, option) in [
        ("network create --gateway 10.0.0.1 x", "--gateway"),
        (
            "network create --subnet 10.0.0.0/24 --ip-range 10.1.0.0/25 x",
            "--ip-range",
        ),
        (
            "network create --subnet 10.0.0.0/24 --aux-address a=10.1.0.1 x",
            "--aux-address",
        ),
        ("network create --subnet nonsense x", "--subnet"),
        ("network connect --ip nonsense a b", "--ip"),
    ] {
        let error = daemon.run(line).await.fails(1);
        assert!(error.contains(option), "{line}: {error}");
    }
}

#[tokio::test]
async fn pruned() {
    let daemon = Daemon::start();
    daemon.run("network create unused").await.ok();
    assert_eq!(
        daemon.run("network prune -f").await.ok(),
        "Deleted Networks:\nunused\n\n"
    );
}
