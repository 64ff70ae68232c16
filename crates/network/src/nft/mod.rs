//! The firewall: one nftables table of our own, changed by `nft` in transactions.
//!
//! One task owns the wanted rules and is the only one to run `nft`. What is asked for while a run
//! is under way goes into the next one together: fifty containers that start at once cost a few
//! runs. Where a change is refused (somebody has flushed the table), the whole table is made anew
//! from what is wanted.

pub(crate) mod elements;
mod json;
pub(crate) mod rules;

use std::collections::{BTreeMap, VecDeque};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{mpsc, oneshot};

use crate::error::{Error, Result, blocking};
use elements::{Elements, Key};
use json::Command;
use rules::Networks;

/// How many changes go into one transaction at most.
const BATCH: usize = 256;

/// How many of our last `nft` processes are remembered.
const REMEMBERED: usize = 64;

/// A handle of the firewall.
#[derive(Clone, Debug)]
pub(crate) struct Firewall {
    requests: mpsc::Sender<Request>,
    runs: Runs,
    applied: bool,
}

/// The last processes that we had change the table.
#[derive(Clone, Debug, Default)]
struct Runs(Arc<Mutex<VecDeque<u32>>>);

impl Runs {
    fn add(&self, process: u32) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.len() == REMEMBERED {
            runs.pop_front();
        }
        runs.push_back(process);
    }

    fn contains(&self, process: u32) -> bool {
        let runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.contains(&process)
    }
}

struct Request {
    change: Change,
    done: oneshot::Sender<Result<()>>,
}

enum Change {
    /// Makes the table anew, with other networks, and with other ports too if they are given.
    Reset {
        networks: Networks,
        published: Option<BTreeMap<String, Elements>>,
    },
    /// Publishes ports; those of this owner that were published are replaced.
    Publish { owner: String, elements: Elements },
    /// Takes an owner's ports back.
    Withdraw { owner: String },
}

impl Firewall {
    /// Starts the task; it ends when the last handle is dropped. With `nft` `None`, rules are
    /// remembered but never applied.
    pub(crate) fn start(nft: Option<PathBuf>, table: String) -> Self {
        let (requests, receiver) = mpsc::channel(BATCH);
        let runs = Runs::default();
        let applied = nft.is_some();
        let keeper = Keeper {
            nft,
            table,
            runs: runs.clone(),
            networks: Networks::default(),
            published: BTreeMap::new(),
            elements: Elements::new(),
        };
        tokio::spawn(keeper.run(receiver));
        Self {
            requests,
            runs,
            applied,
        }
    }

    /// Whether rules are applied, not only remembered.
    pub(crate) fn is_applied(&self) -> bool {
        self.applied
    }

    /// Whether a process is one of those that make our own changes.
    pub(crate) fn is_own(&self, process: u32) -> bool {
        self.runs.contains(process)
    }

    pub(crate) async fn reset(
        &self,
        networks: Networks,
        published: Option<BTreeMap<String, Elements>>,
    ) -> Result<()> {
        self.request(Change::Reset {
            networks,
            published,
        })
        .await
    }

    pub(crate) async fn publish(&self, owner: String, elements: Elements) -> Result<()> {
        self.request(Change::Publish { owner, elements }).await
    }

    /// Takes an owner's ports back: asked for when this returns, and done when what it returns does.
    pub(crate) async fn withdraw(
        &self,
        owner: String,
    ) -> Result<impl Future<Output = Result<()>> + use<>> {
        self.send(Change::Withdraw { owner }).await
    }

    async fn request(&self, change: Change) -> Result<()> {
        self.send(change).await?.await
    }

    async fn send(&self, change: Change) -> Result<impl Future<Output = Result<()>> + use<>> {
        const GONE: Error = Error::Internal("the firewall task ended");
        let (done, result) = oneshot::channel();
        self.requests
            .send(Request { change, done })
            .await
            .map_err(|_| GONE)?;
        Ok(async { result.await.map_err(|_| GONE)? })
    }
}

/// The task's state: what is wanted.
struct Keeper {
    nft: Option<PathBuf>,
    table: String,
    runs: Runs,
    networks: Networks,
    /// Who published what.
    published: BTreeMap<String, Elements>,
    /// All that is published.
    elements: Elements,
}

impl Keeper {
    async fn run(mut self, mut receiver: mpsc::Receiver<Request>) {
        let mut batch = Vec::with_capacity(BATCH);
        while receiver.recv_many(&mut batch, BATCH).await > 0 {
            let (mut commands, mut all) = (Vec::new(), false);
            let mut owners = Vec::new();
            let mut waiting = Vec::new();
            for Request { change, done } in batch.drain(..) {
                match change {
                    Change::Reset {
                        networks,
                        published,
                    } => {
                        self.networks = networks;
                        if let Some(published) = published {
                            self.published.clear();
                            self.elements.clear();
                            for (owner, elements) in published {
                                self.publish(owner, elements);
                            }
                        }
                        all = true;
                    }
                    Change::Publish { owner, elements } => {
                        owners.push(owner.clone());
                        commands.extend(self.publish(owner, elements));
                    }
                    Change::Withdraw { owner } => commands.extend(self.withdraw(&owner)),
                }
                waiting.push(done);
            }
            let mut result = if all {
                None
            } else {
                Some(self.apply(commands).await)
            };
            if !matches!(result, Some(Ok(()))) {
                if let Some(Err(e)) = &result {
                    tracing::warn!("{e}; making the table {} anew", self.table);
                }
                result = Some(
                    self.apply(rules::rebuild(&self.networks, &self.elements))
                        .await,
                );
            }
            let refused = match result {
                Some(Err(Error::Firewall(text))) => Some(text),
                Some(Err(e)) => Some(e.to_string()),
                _ => None,
            };
            if refused.is_some() {
                // They will be told that they aren't published; so they mustn't be wanted.
                owners.iter().for_each(|owner| drop(self.withdraw(owner)));
            }
            for done in waiting {
                let result = refused
                    .clone()
                    .map_or(Ok(()), |text| Err(Error::Firewall(text)));
                // The one who asked may have gone away.
                let _ = done.send(result);
            }
        }
    }

    fn publish(&mut self, owner: String, elements: Elements) -> Vec<Command> {
        let mut commands = self.withdraw(&owner);
        for (key, target) in &elements {
            // Who has bound the socket has the port: a former owner's entry is a left-over.
            if self.elements.remove(key).is_some() {
                for others in self.published.values_mut() {
                    others.remove(key);
                }
                commands.extend(elements::delete(key));
            }
            commands.extend(elements::add(key, target));
            self.elements.insert(*key, *target);
        }
        self.published.insert(owner, elements);
        commands
    }

    fn withdraw(&mut self, owner: &str) -> Vec<Command> {
        let elements = self.published.remove(owner).unwrap_or_default();
        let keys: Vec<Key> = elements.into_keys().collect();
        keys.iter()
            .filter(|key| self.elements.remove(key).is_some())
            .flat_map(elements::delete)
            .collect()
    }

    async fn apply(&self, commands: Vec<Command>) -> Result<()> {
        let Some(nft) = self.nft.clone().filter(|_| !commands.is_empty()) else {
            return Ok(());
        };
        let input = json::transaction(&self.table, &commands).to_string();
        let runs = self.runs.clone();
        blocking(move || run(&nft, &input, &runs)).await
    }
}

/// Runs one transaction.
fn run(nft: &Path, input: &str, runs: &Runs) -> Result<()> {
    let failed = |e: std::io::Error| Error::Firewall(format!("run {}: {e}", nft.display()));
    let mut process = Process::new(nft)
        .args(["-j", "-f", "-"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // Before it can have changed anything.
    runs.add(process.id());
    if let Some(mut stdin) = process.stdin.take() {
        match stdin.write_all(input.as_bytes()) {
            // It refused before it had read all: its words say more.
            Err(e) if e.kind() == ErrorKind::BrokenPipe => {}
            result => result.map_err(failed)?,
        }
    }
    let output = process.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    let text: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .take(4)
        .collect();
    Err(Error::Firewall(if text.is_empty() {
        output.status.to_string()
    } else {
        text.join("; ")
    }))
}

/// Finds the `nft` program.
pub(crate) fn find(nft: &Path) -> Option<PathBuf> {
    if nft.components().count() > 1 {
        return nft.is_file().then(|| nft.to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let usual = ["/usr/sbin", "/sbin", "/usr/local/sbin", "/usr/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(usual)
        .filter(|dir| dir.is_absolute())
        .map(|dir| dir.join(nft))
        .find(|candidate| candidate.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use elements::Target;
    use proptest::prelude::*;

    /// What `nft` would do with the commands: refuse to delete what isn't there, and to add what is.
    fn play(elements: &mut BTreeMap<String, String>, commands: &[Command]) {
        for command in commands {
            match command {
                Command::AddElement { set, element } => {
                    let former =
                        elements.insert(format!("{set} {}", element[0]), element[1].to_string());
                    assert!(former.is_none(), "added twice: {set} {element}");
                }
                Command::DeleteElement { set, key } => {
                    let former = elements.remove(&format!("{set} {key}"));
                    assert!(former.is_some(), "not there: {set} {key}");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn every_change_fits_what_is_there(
            changes in prop::collection::vec(
                (0..4_u8, prop::option::of(prop::collection::btree_map(1..6_u16, 1..4_u16, 0..4))),
                0..40,
            )
        ) {
            let mut keeper = Keeper {
                nft: None,
                table: String::new(),
                runs: Runs::default(),
                networks: Networks::default(),
                published: BTreeMap::new(),
                elements: Elements::new(),
            };
            let mut played = BTreeMap::new();
            for (owner, ports) in changes {
                let owner = owner.to_string();
                let commands = match ports {
                    None => keeper.withdraw(&owner),
                    Some(ports) => {
                        let element = |(host, container): (u16, u16)| {
                            let key = Key { ipv4: true, host_ip: None, proto: crate::Proto::Tcp, port: host };
                            (key, Target { ip: [10, 0, 0, 1].into(), port: container })
                        };
                        keeper.publish(owner, ports.into_iter().map(element).collect())
                    }
                };
                play(&mut played, &commands);
                let owned: usize = keeper.published.values().map(Elements::len).sum();
                prop_assert_eq!(owned, keeper.elements.len());
                prop_assert_eq!(played.len(), 2 * keeper.elements.len());
            }
        }
    }
}
