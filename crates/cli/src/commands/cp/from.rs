//! Out of a container.
//!
//! The archive is the container's, and so not to be trusted: it is unpacked beneath a directory's
//! descriptor, which nothing in it leads out of.

use std::os::fd::AsFd;
use std::path::Path;

use coracle_archive::copy::{ExtractOptions, extract_into};
use coracle_archive::{Limits, Owners};
use coracle_client::{Client, Download};

use super::path::{Info, asserts_directory, clean, plan, split};
use super::pipe;
use super::rebase::{archive_error, rebase};
use crate::commands::download::{check_output, to_stdout};
use crate::error::{Error, Result};

/// Go's `os.ModeDir` and `os.ModeSymlink`.
const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;

pub(super) struct From<'a> {
    pub(super) client: &'a Client,
    pub(super) container: &'a str,
    pub(super) path: &'a str,
    pub(super) keep_owner: bool,
    pub(super) follow: bool,
}

impl From<'_> {
    pub(super) async fn run(&self, target: &str) -> Result<()> {
        if target == "-" {
            check_output(None)?;
        }
        let asked = clean(self.path);
        let mut path = asked.clone();
        if self.follow && !asserts_directory(&asked) {
            let stat = self.client.stat_path(self.container, &path).await?;
            if stat.mode & SYMLINK != 0 && !stat.link_target.is_empty() {
                path = clean(&stat.link_target);
            }
        }
        let (stat, mut archive) = self.client.read_path(self.container, &path).await?;
        if target == "-" {
            return to_stdout(&mut archive).await;
        }
        let is_directory = stat.mode & DIRECTORY != 0;
        let target = here(target)?;
        let plan = plan(is_directory, &target)?;
        let (_, base) = split(&path);
        // A link that was followed keeps the name that was asked for.
        let (_, asked_base) = split(&asked);
        let rename = plan
            .rename
            .or_else(|| (asked_base != base && base != ".").then_some(asked_base));
        self.unpack(archive, &plan.directory, &base, rename).await
    }

    async fn unpack(
        &self,
        archive: Download,
        directory: &str,
        base: &str,
        rename: Option<String>,
    ) -> Result<()> {
        let failed = |error: rustix::io::Errno| Error::io(directory, error.into());
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
        let flags = flags | rustix::fs::OFlags::CLOEXEC;
        let root = rustix::fs::open(directory, flags, rustix::fs::Mode::empty()).map_err(failed)?;
        let options = ExtractOptions {
            limits: Limits::default(),
            owners: if self.keep_owner {
                Owners::Archived
            } else {
                Owners::Fixed {
                    uid: rustix::process::geteuid().as_raw(),
                    gid: rustix::process::getegid().as_raw(),
                }
            },
            no_overwrite_dir_non_dir: true,
            devices: rustix::process::geteuid().is_root(),
        };
        let source = pipe::reader(archive);
        let Some(new) = rename else {
            let work = pipe::spawn(move || {
                extract_into(root.as_fd(), Path::new("."), source, &options).map_err(archive_error)
            });
            return pipe::join(work).await;
        };
        let (reader, writer) = pipe::between()?;
        let old = base.to_owned();
        let renaming = pipe::spawn(move || rebase(source, writer, &old, &new));
        let unpacking = pipe::spawn(move || {
            extract_into(root.as_fd(), Path::new("."), reader, &options).map_err(archive_error)
        });
        let (renamed, unpacked) = tokio::join!(pipe::join(renaming), pipe::join(unpacking));
        // Where unpacking fails, renaming fails for want of a reader.
        unpacked?;
        renamed
    }
}

/// What is at a path here, its symbolic links followed.
fn here(path: &str) -> Result<Info> {
    let current = std::env::current_dir().map_err(|error| Error::io("this directory", error))?;
    let joined = if path.starts_with('/') {
        path.to_owned()
    } else {
        let current = current
            .to_str()
            .ok_or_else(|| Error::usage("this directory's path is not UTF-8"))?;
        format!("{current}/{path}")
    };
    let clean = clean(&joined);
    let meta = match std::fs::metadata(clean.trim_end_matches("/.")) {
        Ok(meta) => Some(meta),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(Error::io(path, error)),
    };
    if let Some(meta) = &meta
        && asserts_directory(&clean)
        && !meta.is_dir()
    {
        return Err(Error::usage(format!("{path} is no directory")));
    }
    if meta.is_none() {
        let (directory, _) = split(clean.trim_end_matches("/."));
        if !Path::new(&directory).is_dir() {
            return Err(Error::usage(format!(
                "invalid output path: directory {directory:?} does not exist"
            )));
        }
    }
    Ok(Info {
        path: clean,
        exists: meta.is_some(),
        is_directory: meta.is_some_and(|meta| meta.is_dir()),
    })
}
