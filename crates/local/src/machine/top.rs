//! The processes of a container in a machine, in the columns that `ps` has for them.

use coracle_runtime::container::Top;
use coracle_runtime::{Result, RuntimeError};
use coracle_task::ProcessInfo;
use jiff::{Timestamp, ToSpan, tz::TimeZone};

/// What `ps -ef` shows.
const FULL: &[&str] = &["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];
/// What `ps aux` shows.
const BSD: &[&str] = &[
    "USER", "PID", "%CPU", "%MEM", "VSZ", "RSS", "TTY", "STAT", "START", "TIME", "COMMAND",
];

/// Shows processes as `ps` would with these arguments, as far as they are understood.
pub(crate) fn top(processes: &[ProcessInfo], args: &str) -> Result<Top> {
    let titles = titles(args)?;
    let memory = crate::host::memory().max(1);
    let rows = processes.iter().map(|process| {
        let cells = titles.iter().map(|title| cell(process, title, memory));
        cells.collect()
    });
    Ok(Top {
        processes: rows.collect(),
        titles: titles.into_iter().map(str::to_owned).collect(),
    })
}

fn titles(args: &str) -> Result<Vec<&'static str>> {
    let words: Vec<&str> = args.split_whitespace().collect();
    match words.as_slice() {
        [] | ["-ef"] => return Ok(FULL.to_vec()),
        ["aux" | "-aux"] => return Ok(BSD.to_vec()),
        _ => {}
    }
    let mut titles = Vec::new();
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        let columns = match word {
            "-e" | "-A" | "ax" => continue,
            "-o" | "-eo" | "o" => words.next().unwrap_or_default(),
            word => word.strip_prefix("-o").ok_or_else(|| refused(word))?,
        };
        for column in columns.split(',').filter(|column| !column.is_empty()) {
            titles.push(match column {
                "pid" => "PID",
                "ppid" => "PPID",
                "user" | "euser" => "USER",
                "uid" | "euid" => "UID",
                "cmd" => "CMD",
                "args" | "command" => "COMMAND",
                "comm" => "COMM",
                "time" | "cputime" => "TIME",
                "etime" => "ELAPSED",
                "stat" | "state" | "s" => "STAT",
                "rss" => "RSS",
                "vsz" => "VSZ",
                "tty" | "tt" => "TTY",
                "stime" | "start" => "STIME",
                "%cpu" | "pcpu" => "%CPU",
                "%mem" | "pmem" => "%MEM",
                other => return Err(refused(other)),
            });
        }
    }
    if !titles.contains(&"PID") {
        return Err(RuntimeError::InvalidArgument(
            "Couldn't find PID field in ps output".into(),
        ));
    }
    Ok(titles)
}

fn refused(word: &str) -> RuntimeError {
    RuntimeError::InvalidArgument(format!(
        "ps: {word:?} is not understood for a container in a virtual machine; use -ef, aux, or -o \
         with a list of columns"
    ))
}

fn cell(process: &ProcessInfo, title: &str, memory: u64) -> String {
    let share = |part: u64, whole: u64| {
        let tenths = part.saturating_mul(1000) / whole.max(1);
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    match title {
        "UID" | "USER" if process.uid == 0 => "root".into(),
        "UID" | "USER" => process.uid.to_string(),
        "PID" => process.pid.to_string(),
        "PPID" => process.ppid.to_string(),
        "C" => (process.cpu_s.saturating_mul(100) / process.age_s.max(1))
            .min(99)
            .to_string(),
        "%CPU" => share(process.cpu_s, process.age_s),
        "%MEM" => share(process.resident_bytes, memory),
        "VSZ" => (process.virtual_bytes / 1024).to_string(),
        "RSS" => (process.resident_bytes / 1024).to_string(),
        "STAT" => process.state.clone(),
        "STIME" | "START" => started(process.age_s),
        "TTY" => terminal(process.tty),
        "TIME" => clock(process.cpu_s),
        "ELAPSED" => elapsed(process.age_s),
        "COMM" => process.name.clone(),
        _ => process.command.clone(),
    }
}

fn started(age_s: u64) -> String {
    let age = i64::try_from(age_s).unwrap_or(i64::MAX).min(1 << 40);
    let begun = Timestamp::now().checked_sub(age.seconds());
    begun.map_or_else(
        |_| "?".into(),
        |time| {
            time.to_zoned(TimeZone::system())
                .strftime("%H:%M")
                .to_string()
        },
    )
}

/// A terminal of the container's, by its device number (proc_pid_stat(5)).
fn terminal(number: u32) -> String {
    let (major, minor) = (
        (number >> 8) & 0xfff,
        (number & 0xff) | (number >> 12 & 0xfff00),
    );
    match major {
        136..=143 => format!("pts/{}", (major - 136) * 256 + minor),
        _ => "?".into(),
    }
}

fn clock(seconds: u64) -> String {
    let (hours, rest) = (seconds / 3600, seconds % 3600);
    format!("{hours:02}:{:02}:{:02}", rest / 60, rest % 60)
}

fn elapsed(seconds: u64) -> String {
    match seconds {
        0..3600 => format!("{:02}:{:02}", seconds / 60, seconds % 60),
        _ => clock(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_ps() {
        let process = ProcessInfo {
            pid: 7,
            uid: 0,
            cpu_s: 61,
            age_s: 122,
            tty: 34816,
            command: "sleep 100".into(),
            ..Default::default()
        };
        let all = top(std::slice::from_ref(&process), "").unwrap();
        assert_eq!(all.titles, FULL);
        assert_eq!(all.processes[0][1], "7");
        assert_eq!(all.processes[0][3], "50");
        assert_eq!(all.processes[0][5], "pts/0");
        assert_eq!(all.processes[0][6], "00:01:01");
        assert_eq!(all.processes[0][7], "sleep 100");
        let some = top(&[process], "-o pid,etime,cmd").unwrap();
        assert_eq!(some.titles, ["PID", "ELAPSED", "CMD"]);
        assert_eq!(some.processes, [["7", "02:02", "sleep 100"]]);
        assert!(top(&[], "-o cmd").is_err());
        assert!(top(&[], "-o pid,wchan").is_err());
        assert!(top(&[], "--forest").is_err());
    }
}
