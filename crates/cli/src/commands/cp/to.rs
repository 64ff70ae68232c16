//! Into a container.

use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use coracle_archive::{TarWriter, WriteOptions, write_tree};
use coracle_client::{Client, Upload};

use super::path::{Info, asserts_directory, clean, plan, split};
use super::pipe;
use super::rebase::archive_error;
use crate::commands::upload;
use crate::error::{Error, Result};

/// Go's `os.ModeDir` and `os.ModeSymlink`.
const DIRECTORY: u32 = 1 << 31;
const SYMLINK: u32 = 1 << 27;

pub(super) struct To<'a> {
    pub(super) client: &'a Client,
    pub(super) container: &'a str,
    pub(super) path: &'a str,
    pub(super) keep_owner: bool,
    pub(super) follow: bool,
}

impl To<'_> {
    pub(super) async fn run(&self, source: &str) -> Result<()> {
        if source == "-" {
            let target = self.target().await?;
            if !target.is_directory {
                return Err(Error::usage(format!(
                    "destination \"{}:{}\" must be a directory",
                    self.container, self.path
                )));
            }
            return self.send(&target.path, upload::stdin()?).await;
        }
        let source = Source::find(source, self.follow)?;
        let target = self.target().await?;
        let plan = plan(source.is_directory, &target)?;
        let name = plan.rename.unwrap_or_else(|| source.name.clone());
        let (archive, work) = pipe::upload(move |out| source.write(name, out));
        let sent = self.send(&plan.directory, archive).await;
        // What kept the archive from being made is what is to be told.
        match pipe::join(work).await {
            Err(error) if sent.is_ok() => Err(error),
            Err(error @ Error::Io { .. }) => Err(error),
            _ => sent,
        }
    }

    async fn send(&self, directory: &str, archive: Upload) -> Result<()> {
        self.client
            .write_path(self.container, directory, archive, self.keep_owner)
            .await?;
        Ok(())
    }

    /// What is at the path in the container, a symbolic link followed.
    async fn target(&self) -> Result<Info> {
        let mut path = clean(self.path);
        let mut found = self.client.stat_path(self.container, &path).await;
        if let Ok(stat) = &found
            && stat.mode & SYMLINK != 0
            && !stat.link_target.is_empty()
        {
            path = if stat.link_target.starts_with('/') {
                clean(&stat.link_target)
            } else {
                let (directory, _) = split(&path);
                clean(&format!("{directory}/{}", stat.link_target))
            };
            found = self.client.stat_path(self.container, &path).await;
        }
        match found {
            Ok(stat) => Ok(Info {
                path,
                exists: true,
                is_directory: stat.mode & DIRECTORY != 0,
            }),
            // Whether it's the container that is missing, the copy itself will say.
            Err(error) if error.is_not_found() => Ok(Info {
                path,
                exists: false,
                is_directory: false,
            }),
            Err(error) => Err(error.into()),
        }
    }
}

/// What is copied.
struct Source {
    /// Absolute.
    path: PathBuf,
    is_directory: bool,
    /// Its name in the archive: as it was asked for, `.` for what is in a directory.
    name: String,
}

impl Source {
    fn find(text: &str, follow: bool) -> Result<Self> {
        let failed = |error| Error::io(text, error);
        let absolute = std::path::absolute(text).map_err(failed)?;
        let whole = asserts_directory(text);
        let meta = if follow || whole {
            std::fs::metadata(&absolute)
        } else {
            std::fs::symlink_metadata(&absolute)
        };
        let meta = meta.map_err(failed)?;
        if whole && !meta.is_dir() {
            return Err(Error::usage(format!("{text} is no directory")));
        }
        let path = if follow || whole {
            std::fs::canonicalize(&absolute).map_err(failed)?
        } else {
            absolute.clone()
        };
        let name = if text.ends_with("/.") || text == "." {
            ".".to_owned()
        } else {
            // `..` has a name only once it is resolved.
            let named = absolute.file_name().or_else(|| path.file_name());
            named.map_or("/".into(), |name| name.to_string_lossy().into_owned())
        };
        Ok(Self {
            path,
            is_directory: meta.is_dir(),
            name,
        })
    }

    fn write(&self, name: String, out: impl std::io::Write) -> Result<()> {
        use std::os::unix::ffi::OsStrExt;
        let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY;
        let flags = flags | rustix::fs::OFlags::CLOEXEC;
        let root = rustix::fs::open(Path::new("/"), flags, rustix::fs::Mode::empty())
            .map_err(|error| Error::io("/", error.into()))?;
        let mut writer = TarWriter::new(std::io::BufWriter::with_capacity(64 * 1024, out));
        let options = WriteOptions {
            rename: name.into_bytes(),
            ..WriteOptions::default()
        };
        let path = self.path.as_os_str().as_bytes();
        write_tree(root.as_fd(), path, &mut writer, &options).map_err(archive_error)?;
        writer.finish().map_err(archive_error)?;
        Ok(())
    }
}
