//! How many processors are used.

use std::fs;
use std::path::{Path, PathBuf};

use coracle_guest::Failure;
use coracle_task::ErrorKind;

use crate::error::{During, Result, invalid};

/// The kernel's processors.
const ALL: &str = "/sys/devices/system/cpu";

/// Has the first so many be used, and no others.
pub(crate) fn set(count: u32) -> Result<()> {
    set_in(Path::new(ALL), count)
}

fn set_in(all: &Path, count: u32) -> Result<()> {
    if count == 0 {
        return Err(invalid("a machine uses one processor at least"));
    }
    let present = (0..).take_while(|number| directory(all, *number).is_dir());
    let present = present.last().map_or(1, |last| last + 1);
    if count > present {
        return Err(refused(format!(
            "the guest's kernel has {present} processors"
        )));
    }
    let mut added = Vec::new();
    for number in 1..count {
        match switch(all, number, true) {
            Ok(true) => added.push(number),
            Ok(false) => {}
            Err(error) => {
                for number in added.into_iter().rev() {
                    let _the_first_error_counts = switch(all, number, false);
                }
                return Err(error);
            }
        }
    }
    for number in (count..present).rev() {
        switch(all, number, false)?;
    }
    Ok(())
}

fn directory(all: &Path, number: u32) -> PathBuf {
    all.join(format!("cpu{number}"))
}

/// Starts or stops one; whether it was in the other state.
fn switch(all: &Path, number: u32, on: bool) -> Result<bool> {
    let file = directory(all, number).join("online");
    let value = if on { "1" } else { "0" };
    match fs::read_to_string(&file) {
        Ok(is) if is.trim_end() == value => return Ok(false),
        Ok(_) => {}
        Err(_) => {
            return Err(refused(
                "the guest's kernel can't start or stop processors".into(),
            ));
        }
    }
    let verb = if on { "start" } else { "stop" };
    fs::write(&file, value).during(|| format!("{verb} the guest's processor {number}"))?;
    Ok(true)
}

fn refused(message: String) -> Failure {
    Failure::new(ErrorKind::Unsupported, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn online(all: &Path) -> String {
        (1..4)
            .map(|number| fs::read_to_string(directory(all, number).join("online")).unwrap())
            .collect()
    }

    #[test]
    fn the_first_are_used() {
        let all = tempfile::tempdir().unwrap();
        for number in 0..4 {
            fs::create_dir(directory(all.path(), number)).unwrap();
            if number > 0 {
                fs::write(directory(all.path(), number).join("online"), "0").unwrap();
            }
        }
        for (count, after) in [(1, "000"), (3, "110"), (4, "111"), (2, "100")] {
            set_in(all.path(), count).unwrap();
            assert_eq!(online(all.path()), after);
        }
        assert!(set_in(all.path(), 0).is_err());
        assert!(set_in(all.path(), 5).is_err());
        assert_eq!(online(all.path()), "100");
    }

    #[test]
    fn what_was_added_before_a_failure_is_taken_away() {
        let all = tempfile::tempdir().unwrap();
        for number in 0..3 {
            fs::create_dir(directory(all.path(), number)).unwrap();
        }
        fs::write(directory(all.path(), 1).join("online"), "0").unwrap();
        // What can be read, but not written to.
        std::os::unix::fs::symlink("/proc/version", directory(all.path(), 2).join("online"))
            .unwrap();
        assert!(set_in(all.path(), 3).is_err());
        assert_eq!(
            fs::read_to_string(directory(all.path(), 1).join("online")).unwrap(),
            "0"
        );
    }
}
