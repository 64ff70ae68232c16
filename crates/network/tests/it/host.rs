//! A host for one test: a thread in network and mount namespaces of its own, with a runtime whose
//! threads are there too. Nothing of the real host is touched, and nothing is left on it.

use std::collections::HashSet;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use coracle_network::{Config, Endpoint, EndpointConfig, Networks, create_netns, proxy};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

pub(crate) struct Host {
    pub(crate) dir: tempfile::TempDir,
}

/// Runs a test on a host of its own, or says why it can't.
pub(crate) fn on_host<F: Future<Output = ()>>(test: impl FnOnce(Host) -> F + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: needs root to make network namespaces");
        return;
    }
    if !Path::new("/usr/sbin/nft").exists() {
        eprintln!("skipped: needs nft (package nftables)");
        return;
    }
    let result = thread::spawn(|| {
        // SAFETY: only `FILES` would be unsafe; this thread keeps the common file table.
        #[allow(unsafe_code)]
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET | UnshareFlags::NEWNS) }
            .unwrap();
        let private = MountPropagationFlags::REC | MountPropagationFlags::PRIVATE;
        rustix::mount::mount_change("/", private).unwrap();
        ip("link set lo up");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        runtime.unwrap().block_on(test(Host {
            dir: tempfile::tempdir().unwrap(),
        }));
    })
    .join();
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// The test's directory can't be removed as long as namespaces are mounted in it.
impl Drop for Host {
    fn drop(&mut self) {
        let Ok(entries) = std::fs::read_dir(self.dir.path().join("netns")) else {
            return;
        };
        for entry in entries.flatten() {
            let _ = rustix::mount::unmount(entry.path(), UnmountFlags::DETACH);
        }
    }
}

impl Host {
    pub(crate) fn config(&self) -> Config {
        Config::new(self.dir.path().join("state"), self.dir.path().join("run"))
    }

    pub(crate) async fn networks(&self, config: Config) -> Networks {
        let networks = Networks::open(config).await.unwrap();
        networks.restore(Vec::new()).await.unwrap();
        networks
    }

    pub(crate) fn netns(&self, id: &str) -> PathBuf {
        self.dir.path().join("netns").join(id)
    }

    /// A namespace on the default network.
    pub(crate) async fn container(&self, networks: &Networks, id: &str) -> Endpoint {
        let network = networks.default_network().unwrap().id;
        create_netns(self.netns(id)).await.unwrap();
        networks
            .attach(self.netns(id), EndpointConfig::new(id, network))
            .await
            .unwrap()
    }

    /// A namespace beside the host, joined to it by a cable: 10.9.0.1 and fd09::1 here, 10.9.0.2
    /// and fd09::2 there. It has no route to anywhere else.
    pub(crate) async fn outside(&self) -> PathBuf {
        let path = self.netns("outside");
        create_netns(&path).await.unwrap();
        ip("link add cable type veth peer name cable1");
        let file = path.display();
        run("nsenter", &["--net=/proc/thread-self/ns/net", "true"]);
        // `ip link set netns` wants a name or a process: give it one that lives there.
        let mut sleeper = Command::new("nsenter")
            .args([&format!("--net={file}"), "sleep", "60"])
            .spawn()
            .unwrap();
        thread::sleep(Duration::from_millis(50));
        ip(&format!("link set cable1 netns {}", sleeper.id()));
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        ip("addr add 10.9.0.1/24 dev cable");
        ip("addr add fd09::1/64 dev cable nodad");
        ip("link set cable up");
        within(&path, || {
            ip("addr add 10.9.0.2/24 dev cable1");
            ip("addr add fd09::2/64 dev cable1 nodad");
            ip("link set cable1 up");
        });
        path
    }
}

pub(crate) fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {error}");
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn ip(arguments: &str) -> String {
    run("ip", &arguments.split_whitespace().collect::<Vec<_>>())
}

pub(crate) fn nft(arguments: &str) -> String {
    run("nft", &arguments.split_whitespace().collect::<Vec<_>>())
}

/// Runs something in a namespace, in a thread that ends with it.
pub(crate) fn within<T: Send>(netns: &Path, work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let work = || {
            let file = std::fs::File::open(netns).unwrap();
            use std::os::fd::AsFd;
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        scope.spawn(work).join().unwrap()
    })
}

/// A TCP server in a namespace (or here) that answers with the peer's address and what it got.
pub(crate) fn echo(netns: Option<&Path>, address: SocketAddr) {
    let listen = || TcpListener::bind(address).unwrap();
    let listener = match netns {
        Some(netns) => within(netns, listen),
        None => listen(),
    };
    thread::spawn(move || {
        while let Ok((mut stream, peer)) = listener.accept() {
            thread::spawn(move || {
                let mut text = String::new();
                stream.read_to_string(&mut text).unwrap();
                write!(stream, "{}|{text}", peer.ip().to_canonical()).unwrap();
            });
        }
    });
}

/// A UDP server in a namespace that answers with the peer's address and what it got.
pub(crate) fn echo_udp(netns: &Path, address: SocketAddr) {
    let socket = within(netns, || UdpSocket::bind(address).unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            let answer = format!("{}|{text}", peer.ip().to_canonical());
            socket.send_to(answer.as_bytes(), peer).unwrap();
        }
    });
}

/// Says `hello` and returns the answer.
pub(crate) fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"hello")?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

pub(crate) fn ask_udp(address: SocketAddr) -> std::io::Result<String> {
    let any: SocketAddr = if address.is_ipv4() {
        "0.0.0.0:0"
    } else {
        "[::]:0"
    }
    .parse()
    .unwrap();
    let socket = UdpSocket::bind(any)?;
    socket.connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send(b"hello")?;
    let mut buffer = [0; 2048];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Serves published ports as a shim does.
pub(crate) fn serve(published: coracle_network::Published, ip: IpAddr) {
    for binding in published.bindings {
        let target = SocketAddr::new(ip, binding.mapping.container_port);
        tokio::spawn(proxy::serve(
            binding.listener,
            binding.mapping.proto,
            target,
        ));
    }
}

pub(crate) fn live(ids: &[&str]) -> Vec<coracle_network::Live> {
    let live = |id: &&str| coracle_network::Live {
        id: (*id).to_owned(),
        ..Default::default()
    };
    ids.iter().map(live).collect()
}

pub(crate) fn names(ids: &[&str]) -> HashSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

/// Waits until something is so; how long it took.
pub(crate) fn eventually(what: &str, so: impl Fn() -> bool) {
    let start = Instant::now();
    while !so() {
        assert!(start.elapsed() < Duration::from_secs(5), "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
    eprintln!("{what}: {:?}", start.elapsed());
}
