//! Serves a runtime in memory on a TCP port, for tools that try an API out: `mock ADDRESS:PORT`. Says
//! where, and a key for it.

use std::sync::Arc;

use coracle_api::{Keys, Server, ServerConfig};
use coracle_mock::MockRuntime;
use coracle_native::key::Scope;
use tokio::net::TcpListener;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:0".to_owned());
    let runtime = MockRuntime::new()
        .with_image("busybox")
        .with_image("debian")
        .with_remote_image("alpine");
    let config = ServerConfig {
        // Who tries all of it is in a hurry.
        rate: 0,
        ..ServerConfig::default()
    };
    // So that keys are tried out too.
    let keys = Keys::in_memory();
    let made = keys.create("try", Scope::Admin, None).await;
    let (_, secret) = made.map_err(std::io::Error::other)?;
    let listener = TcpListener::bind(address).await?;
    eprintln!("{} {secret}", listener.local_addr()?);
    let stop = async {
        let _ = tokio::signal::ctrl_c().await;
    };
    Server::with_keys(Arc::new(runtime), config, keys)
        .serve(listener, stop)
        .await;
    Ok(())
}
