//! Keys to the API, for clients that come over TCP.
//!
//! A key's secret is 256 random bits, which nobody can guess or try through. So what is kept of it is
//! its SHA-256 and no slow hash: argon2 and its kind protect passwords that people choose, and would
//! only make each request slower here. Digests are compared in constant time.
//!
//! Once a key was made, requests over TCP need one, also after the last was revoked: revoking must
//! never open a door. The file says so by being there.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coracle_native::key::{Key, Scope};
use jiff::{SignedDuration, Timestamp};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use tokio_util::sync::CancellationToken;

/// What every secret begins with, so that one is recognised where it should not be.
const PREFIX: &str = "coracle_";
/// Most keys, revoked ones too.
const MAX_KEYS: usize = 1000;
/// Most characters of a name.
const MAX_NAME: usize = 64;
/// How exactly the last use is kept.
const USE_STEP: SignedDuration = SignedDuration::from_secs(60);
/// How long a clock that was set, or a host that slept, goes unnoticed by connections with a key that expires.
const CLOCK_STEP: Duration = Duration::from_secs(30);

/// Why a key can't be made or revoked.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is no such key.
    #[error("No such key: {0}")]
    Unknown(String),
    /// There are too many.
    #[error(
        "there are {MAX_KEYS} keys already; those that are revoked or expired count too, until their lines are taken out of the file"
    )]
    TooMany,
    /// The file can't be written.
    #[error("the keys can't be kept: {0}")]
    Store(#[from] io::Error),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
}

/// A key as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    #[serde(flatten)]
    key: Key,
    /// SHA-256 of the secret, in base64.
    digest: String,
}

#[derive(Default)]
struct State {
    keys: Vec<Kept>,
    /// Connections that came with a key, by its id.
    sessions: Vec<(String, CancellationToken)>,
    /// Whether a key was ever made.
    configured: bool,
}

/// All keys.
pub struct Keys {
    /// None where they are not kept.
    path: Option<PathBuf>,
    state: Mutex<State>,
    /// Held while the file is written, so that the newest state is what stays.
    file: Mutex<()>,
    /// What time it is.
    clock: fn() -> Timestamp,
}

impl Keys {
    /// Keys that are forgotten with the daemon.
    pub fn in_memory() -> Arc<Self> {
        Arc::new(Self {
            path: None,
            state: Mutex::default(),
            file: Mutex::default(),
            clock: Timestamp::now,
        })
    }

    /// The keys of a file, which need not be there yet. One that can't be read is an error: going on
    /// without it would let everybody in.
    pub fn open(path: &Path) -> io::Result<Arc<Self>> {
        let (keys, configured) = match fs::read(path) {
            Ok(bytes) => {
                let keys = serde_json::from_slice::<Vec<Kept>>(&bytes).map_err(|error| {
                    io::Error::new(
                        io::ErrorKind::InvalidData,
                        format!("{}: {error}", path.display()),
                    )
                })?;
                (keys, true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (Vec::new(), false),
            Err(error) => return Err(error),
        };
        Ok(Arc::new(Self {
            path: Some(path.to_owned()),
            state: Mutex::new(State {
                keys,
                sessions: Vec::new(),
                configured,
            }),
            file: Mutex::default(),
            clock: Timestamp::now,
        }))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether requests over TCP need one.
    pub fn are_configured(&self) -> bool {
        self.lock().configured
    }

    /// All of them, without their secrets.
    pub fn list(&self) -> Vec<Key> {
        self.lock()
            .keys
            .iter()
            .map(|kept| kept.key.clone())
            .collect()
    }

    /// Makes one; gives its secret too, which can't be had again.
    pub async fn create(
        self: &Arc<Self>,
        name: &str,
        scope: Scope,
        life: Option<Duration>,
    ) -> Result<(Key, String), KeyError> {
        let length = name.chars().count();
        if length == 0 || length > MAX_NAME || name.chars().any(char::is_control) {
            return Err(KeyError::Invalid(
                "name: want 1 to 64 characters, and none that controls a terminal",
            ));
        }
        let now = (self.clock)();
        let expires_at = life
            .map(|life| {
                let life = SignedDuration::try_from(life)
                    .ok()
                    .filter(|life| life.is_positive());
                life.and_then(|life| now.checked_add(life).ok())
                    .ok_or(KeyError::Invalid(
                        "expiresIn: want from 1 second to 100 years",
                    ))
            })
            .transpose()?;
        let (mut id, mut random) = ([0; 8], [0; 32]);
        let source = SystemRandom::new();
        source.fill(&mut id).map_err(|_| KeyError::Random)?;
        source.fill(&mut random).map_err(|_| KeyError::Random)?;
        let id: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        let secret = format!("{PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(random));
        let key = Key {
            id,
            name: name.to_owned(),
            scope,
            created_at: now,
            expires_at,
            last_used_at: None,
            revoked_at: None,
        };
        {
            let mut state = self.lock();
            if state.keys.len() >= MAX_KEYS {
                return Err(KeyError::TooMany);
            }
            state.keys.push(Kept {
                key: key.clone(),
                digest: URL_SAFE_NO_PAD.encode(digest(&SHA256, secret.as_bytes())),
            });
        }
        if let Err(error) = self.save().await {
            // A key that is not kept would end with the daemon, unsaid.
            self.lock().keys.retain(|kept| kept.key.id != key.id);
            return Err(error.into());
        }
        self.lock().configured = true;
        Ok((key, secret))
    }

    /// Revokes one, by its id: from now on it opens nothing, and connections that it opened end.
    pub async fn revoke(self: &Arc<Self>, id: &str) -> Result<(), KeyError> {
        {
            let mut state = self.lock();
            let unknown = || KeyError::Unknown(id.to_owned());
            let found = state.keys.iter_mut().find(|kept| kept.key.id == id);
            let kept = found.ok_or_else(unknown)?;
            kept.key.revoked_at.get_or_insert_with(self.clock);
            state.sessions.retain(|(key, session)| {
                if key == id {
                    session.cancel();
                }
                !session.is_cancelled()
            });
        }
        Ok(self.save().await?)
    }

    /// What a secret allows now, with its key's id; none where it allows nothing.
    pub(crate) fn check(self: &Arc<Self>, secret: &str) -> Option<(String, Scope)> {
        let id = secret.strip_prefix(PREFIX)?.split('_').next()?;
        let given = digest(&SHA256, secret.as_bytes());
        let now = (self.clock)();
        let mut state = self.lock();
        let kept = state.keys.iter_mut().find(|kept| kept.key.id == id)?;
        let known = URL_SAFE_NO_PAD.decode(&kept.digest).ok()?;
        let same = bool::from(known.as_slice().ct_eq(given.as_ref()));
        let ended = kept.key.expires_at.is_some_and(|end| end <= now);
        if !same || ended || kept.key.revoked_at.is_some() {
            return None;
        }
        let allowed = (kept.key.id.clone(), kept.key.scope);
        let used = kept.key.last_used_at;
        if used.is_none_or(|used| now.duration_since(used) >= USE_STEP) {
            kept.key.last_used_at = Some(now);
            drop(state);
            let keys = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = keys.save().await {
                    tracing::warn!(%error, "a key's last use is not kept");
                }
            });
        }
        Some(allowed)
    }

    /// Ends a connection when the key that opened it is revoked or expires.
    pub(crate) fn watch(self: &Arc<Self>, id: &str, session: &CancellationToken) {
        let mut state = self.lock();
        let known = state.keys.iter().find(|kept| kept.key.id == id);
        // It may have been revoked since it was checked.
        let Some(key) = known
            .map(|kept| &kept.key)
            .filter(|key| key.revoked_at.is_none())
        else {
            session.cancel();
            return;
        };
        let end = key.expires_at;
        state
            .sessions
            .retain(|(_, session)| !session.is_cancelled());
        state.sessions.push((id.to_owned(), session.clone()));
        drop(state);
        if let Some(end) = end {
            let (clock, session) = (self.clock, session.clone());
            tokio::spawn(async move {
                session.run_until_cancelled(until(end, clock)).await;
                session.cancel();
            });
        }
    }

    /// Writes the file, off the threads that serve.
    async fn save(self: &Arc<Self>) -> io::Result<()> {
        let keys = Arc::clone(self);
        let saved = tokio::task::spawn_blocking(move || {
            let Some(path) = &keys.path else {
                return Ok(());
            };
            let _file = keys.file.lock().unwrap_or_else(PoisonError::into_inner);
            let bytes = serde_json::to_vec_pretty(&keys.lock().keys)?;
            write(path, &bytes)
        });
        saved.await.map_err(io::Error::other)?
    }
}

/// Resolves at a time of day, also when the clock is set meanwhile.
async fn until(end: Timestamp, clock: fn() -> Timestamp) {
    while let Ok(left) = Duration::try_from(end.duration_since(clock()))
        && !left.is_zero()
    {
        tokio::time::sleep(left.min(CLOCK_STEP)).await;
    }
}

/// Replaces a file as a whole, for root's eyes only.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let staged = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&staged)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&staged, path)?;
    match path.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::pending;

    use super::*;

    #[tokio::test]
    async fn a_key_works_until_it_is_revoked_and_stays_so_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        let keys = Keys::open(&path).unwrap();
        assert!(!keys.are_configured());
        let (key, secret) = keys.create("ci", Scope::Write, None).await.unwrap();
        assert!(keys.are_configured());
        let text = fs::read_to_string(&path).unwrap();
        let random = secret.splitn(3, '_').nth(2).unwrap();
        assert!(!text.contains(random), "the secret is on disk: {text}");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);

        let again = Keys::open(&path).unwrap();
        assert_eq!(again.check(&secret), Some((key.id.clone(), Scope::Write)));
        let session = CancellationToken::new();
        again.watch(&key.id, &session);
        again.revoke(&key.id).await.unwrap();
        assert!(session.is_cancelled());
        assert_eq!(again.check(&secret), None);
        // The last use is written in the background.
        again.save().await.unwrap();
        let third = Keys::open(&path).unwrap();
        assert_eq!(third.check(&secret), None);
        assert!(third.are_configured());
        assert!(matches!(third.revoke("x").await, Err(KeyError::Unknown(_))));
    }

    #[tokio::test]
    async fn nothing_but_the_secret_opens() {
        let keys = Keys::in_memory();
        let (key, secret) = keys.create("a", Scope::Admin, None).await.unwrap();
        // A character more, one less, another one; nothing; the id alone.
        let mut other = secret.clone();
        let last = other.pop().unwrap();
        assert_eq!(keys.check(&other), None);
        other.push(if last == 'A' { 'E' } else { 'A' });
        assert_eq!(keys.check(&other), None);
        for wrong in [
            "",
            "coracle_",
            &format!("coracle_{}_", key.id),
            &format!("{secret}A"),
        ] {
            assert_eq!(keys.check(wrong), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_key_expires() {
        let keys = Keys::in_memory();
        let life = Duration::from_secs(1);
        let (_, secret) = keys.create("a", Scope::Read, Some(life)).await.unwrap();
        assert!(keys.check(&secret).is_some());
        let past = Timestamp::now() - SignedDuration::from_secs(1);
        keys.lock().keys[0].key.expires_at = Some(past);
        assert_eq!(keys.check(&secret), None);
        for (name, life) in [("", None), ("a\u{1b}", None), ("a", Some(Duration::ZERO))] {
            assert!(
                keys.create(name, Scope::Read, life).await.is_err(),
                "{name:?}"
            );
        }
    }

    thread_local! {
        static NOW: Cell<Timestamp> = const { Cell::new(Timestamp::UNIX_EPOCH) };
    }

    fn pass(seconds: i64) {
        NOW.set(NOW.get() + SignedDuration::from_secs(seconds));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_end_with_their_key_by_the_time_of_day() {
        let mut keys = Keys::in_memory();
        Arc::get_mut(&mut keys).unwrap().clock = || NOW.get();
        let key = async |life| {
            let made = keys.create("a", Scope::Read, life).await;
            made.unwrap().0.id
        };
        let (brief, lasting) = (key(Some(Duration::from_secs(3600))).await, key(None).await);
        let watched = |id: &str| {
            let session = CancellationToken::new();
            keys.watch(id, &session);
            session
        };
        let (one, closed, other) = (watched(&brief), watched(&brief), watched(&lasting));
        closed.cancel();
        // A host's clock may stand still or be set, whatever time a timer has seen pass.
        tokio::time::sleep(Duration::from_secs(7200)).await;
        assert!(!one.is_cancelled());
        let tasks = tokio::runtime::Handle::current().metrics();
        assert_eq!(tasks.num_alive_tasks(), 1);
        pass(3599);
        tokio::time::sleep(2 * CLOCK_STEP).await;
        assert!(!one.is_cancelled());
        pass(1);
        one.cancelled().await;
        assert!(
            watched(&brief)
                .run_until_cancelled(pending::<()>())
                .await
                .is_none()
        );
        pass(1_000_000);
        tokio::time::sleep(2 * CLOCK_STEP).await;
        assert!(!other.is_cancelled());
        // Revoked between its check and its being watched.
        keys.revoke(&lasting).await.unwrap();
        assert!(other.is_cancelled() && watched(&lasting).is_cancelled());
    }

    #[test]
    fn a_file_that_makes_no_sense_lets_nobody_in() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys.json");
        fs::write(&path, "[{").unwrap();
        assert!(Keys::open(&path).is_err());
    }
}
