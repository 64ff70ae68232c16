//! The same for each of several names.

use std::future::Future;

use futures_util::StreamExt;
use futures_util::stream;

use crate::error::{Error, FAILURE, Result};
use crate::output::print;

/// So many at once.
const AT_ONCE: usize = 50;

/// Does something for each name, several at once, and shows what comes of it in the names' order. A
/// failure doesn't keep the others from being done; it is told, and is the exit code.
pub(super) async fn each<'a, F>(names: &'a [String], work: impl Fn(&'a str) -> F) -> Result<u8>
where
    F: Future<Output = Result<Option<String>>>,
{
    let mut code = 0;
    let mut done = stream::iter(names).map(|name| work(name)).buffered(AT_ONCE);
    while let Some(result) = done.next().await {
        match result {
            Ok(Some(line)) => print(&format!("{line}\n"))?,
            Ok(None) => {}
            Err(error @ Error::Exit(_)) => return Err(error),
            Err(error) => {
                error.report();
                code = FAILURE;
            }
        }
    }
    Ok(code)
}

/// The same, showing the name where it went well.
pub(super) async fn each_name<'a, F>(names: &'a [String], work: impl Fn(&'a str) -> F) -> Result<u8>
where
    F: Future<Output = Result<(), coracle_client::Error>>,
{
    each(names, |name| {
        let done = work(name);
        async move {
            done.await?;
            Ok(Some(name.to_owned()))
        }
    })
    .await
}
