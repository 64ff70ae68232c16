//! Running checks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;

use super::{CHECKS, Subject};
use crate::Runtime;

/// How long one check may take, even on a slow and busy host. A hang is a failure like any other.
const PATIENCE: Duration = Duration::from_secs(120);

/// Checks during which no other may run.
const ALONE: &[&str] = &[
    // Others would only wait, and be waited for.
    "crowd::fifty_containers_at_once",
    // Changes what is the whole runtime's: which kernel machines start with.
    "kernels::installed_chosen_and_removed",
];

/// A check that passes is told of where it took longer.
const LONG: Duration = Duration::from_secs(20);

/// What a conformer brings to its checks.
pub trait Fixture: Send + Sync {
    /// The runtime. It may be one for all checks, or a new one for each.
    fn runtime(&self) -> impl Future<Output = Arc<dyn Runtime>> + Send;

    /// The name of an image like busybox that the runtime has.
    fn image(&self) -> String {
        "busybox".into()
    }

    /// The name of an image that can be pulled, where there is one.
    fn remote_image(&self) -> Option<String> {
        None
    }
}

/// One behaviour.
#[derive(Clone, Copy, Debug)]
pub struct Check {
    /// `group::name`.
    pub name: &'static str,
    /// The check; it panics where the behaviour is another.
    pub run: fn(Subject) -> BoxFuture<'static, ()>,
}

/// What came of many checks.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// How many passed.
    pub passed: usize,
    /// The names of those that did not, with what they said.
    pub failed: Vec<(&'static str, String)>,
}

/// Runs one check by its name, in a tokio runtime of its own.
///
/// # Panics
/// Where it fails, or there is none of that name.
pub fn run_one(fixture: &impl Fixture, name: &str) {
    let check = CHECKS
        .iter()
        .find(|check| check.name == name)
        .expect("the check is listed");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a tokio runtime");
    let result = runtime.block_on(run(fixture, check));
    // Blocked threads must not keep the test from failing.
    runtime.shutdown_timeout(Duration::from_secs(1));
    if let Err(text) = result {
        panic!("{text}");
    }
}

/// Runs all checks whose name holds `filter`, so many at a time, as [`run_chosen`] does.
pub async fn run_all(fixture: &impl Fixture, filter: &str, at_once: usize) -> Report {
    run_chosen(fixture, |name| name.contains(filter), at_once).await
}

/// Runs the checks that are chosen by name, so many at a time. Prints those that fail, and those that
/// took long: what is told of a failed run is often cut, and should hold the failure.
pub async fn run_chosen(
    fixture: &impl Fixture,
    choose: impl Fn(&str) -> bool,
    at_once: usize,
) -> Report {
    let chosen = CHECKS.iter().filter(|check| choose(check.name));
    let (alone, others): (Vec<_>, Vec<_>) = chosen.partition(|check| ALONE.contains(&check.name));
    let timed = |check: &'static Check| async move {
        let start = Instant::now();
        (check.name, run(fixture, check).await, start.elapsed())
    };
    let others = futures_util::stream::iter(others)
        .map(timed)
        .buffer_unordered(at_once.max(1));
    let alone = futures_util::stream::iter(alone).then(timed);
    let mut running = std::pin::pin!(others.chain(alone));
    let mut report = Report::default();
    while let Some((name, result, took)) = running.next().await {
        match result {
            Ok(()) => {
                if took > LONG {
                    println!("test {name} ... ok ({took:.1?})");
                }
                report.passed += 1;
            }
            Err(text) => {
                println!("test {name} ... FAILED ({took:.1?}): {text}");
                report.failed.push((name, text));
            }
        }
    }
    report
}

async fn run(fixture: &impl Fixture, check: &Check) -> Result<(), String> {
    let subject = Subject::new(
        fixture.runtime().await,
        fixture.image(),
        fixture.remote_image(),
        check.name,
    );
    let task = tokio::spawn((check.run)(subject.clone()));
    let stop = task.abort_handle();
    let result = match tokio::time::timeout(PATIENCE, task).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(match error.try_into_panic() {
            Ok(panic) => said(panic.as_ref()),
            Err(error) => error.to_string(),
        }),
        Err(_) => {
            stop.abort();
            Err(format!("it hangs: not done after {PATIENCE:?}"))
        }
    };
    let cleared = tokio::time::timeout(PATIENCE, subject.clear()).await;
    result.and(cleared.map_err(|_| "clearing up hangs".to_owned()))
}

/// What a panic said.
fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it panicked")
        .to_owned()
}

/// One named test for each check of the conformance suite.
///
/// Takes an expression that gives a [`Fixture`](crate::conformance::Fixture).
#[macro_export]
macro_rules! conformance_tests {
    ($fixture:expr) => {
        $crate::__conformance_checks! { __conformance_tests!($fixture) }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    (($fixture:expr) $($group:ident { $($name:ident)* })*) => {$(
        mod $group {
            #[allow(unused_imports, reason = "not every fixture is an expression of the module above")]
            use super::*;
            $crate::__conformance_test! { ($fixture) $group $($name)* }
        }
    )*};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_test {
    (($fixture:expr) $group:ident $($name:ident)*) => {$(
        #[test]
        fn $name() {
            let name = concat!(stringify!($group), "::", stringify!($name));
            $crate::conformance::run_one(&$fixture, name);
        }
    )*};
}
