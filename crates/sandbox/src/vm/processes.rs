//! The processes in the guest, as its `/proc` describes them (proc_pid_stat(5)).

use coracle_guest::Agent;
use coracle_task::ProcessInfo;

use super::from_guest;
use crate::Result;

/// The most processes that are described.
const MAX: usize = 4096;
/// The longest command line that is told, in bytes.
const MAX_COMMAND: usize = 4096;
/// Ticks of a second in `/proc` (USER_HZ), the same on every Linux.
const TICKS: u64 = 100;
/// Bytes of a page.
const PAGE: u64 = 4096;

/// All processes of a container. One that ends meanwhile is left out.
pub(crate) async fn list(agent: &Agent, id: &str) -> Result<Vec<ProcessInfo>> {
    let pids = agent.pids(id).await.map_err(from_guest)?;
    let uptime = agent.read_file("/proc/uptime").await.map_err(from_guest)?;
    let uptime = String::from_utf8_lossy(&uptime);
    let uptime = uptime.split('.').next().and_then(|text| text.parse().ok());
    let mut processes = Vec::new();
    for pid in pids.into_iter().take(MAX) {
        let file = |name: &str| format!("/proc/{pid}/{name}");
        let (Ok(stat), Ok(status), Ok(command)) = (
            agent.read_file(&file("stat")).await,
            agent.read_file(&file("status")).await,
            agent.read_file(&file("cmdline")).await,
        ) else {
            continue;
        };
        processes.extend(describe(
            pid,
            &String::from_utf8_lossy(&stat),
            &String::from_utf8_lossy(&status),
            &command,
            uptime.unwrap_or_default(),
        ));
    }
    Ok(processes)
}

fn describe(
    pid: i32,
    stat: &str,
    status: &str,
    command: &[u8],
    uptime: u64,
) -> Option<ProcessInfo> {
    // The name is in parentheses, and may hold any of them.
    let (start, rest) = stat.rsplit_once(')')?;
    let name = start.split_once('(')?.1;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // By their numbers in proc_pid_stat(5), where the state is the third.
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or_default();
    let number = |number: usize| field(number).parse::<u64>().unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let uid = uid.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    let words = command
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty());
    let words: Vec<String> = words
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let mut line = match words.is_empty() {
        true => format!("[{name}]"),
        false => words.join(" "),
    };
    line.truncate(line.floor_char_boundary(MAX_COMMAND));
    Some(ProcessInfo {
        pid,
        ppid: field(4).parse().unwrap_or_default(),
        uid: uid.unwrap_or_default(),
        state: field(3).to_owned(),
        tty: u32::try_from(number(7)).unwrap_or_default(),
        cpu_s: number(14).saturating_add(number(15)) / TICKS,
        age_s: uptime.saturating_sub(number(22) / TICKS),
        virtual_bytes: number(23),
        resident_bytes: number(24).saturating_mul(PAGE),
        name: name.to_owned(),
        command: line,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_by_column() {
        let stat = "7 (a) b) S 1 7 7 34816 7 4194304 100 0 0 0 250 50 0 0 20 0 1 0 6000 8192 3 0";
        let status = "Name:\ta) b\nUid:\t1000\t1001\t1000\t1000\n";
        let process = describe(7, stat, status, b"sleep\x00100\x00", 100).unwrap();
        assert_eq!(process.name, "a) b");
        assert_eq!(process.command, "sleep 100");
        assert_eq!((process.ppid, process.uid, process.tty), (1, 1001, 34816));
        assert_eq!((process.cpu_s, process.age_s), (3, 40));
        assert_eq!(
            (process.virtual_bytes, process.resident_bytes),
            (8192, 12288)
        );
        assert_eq!(describe(7, "", status, b"", 0), None);
        let short = describe(7, "7 (x) R", "", b"", 0).unwrap();
        assert_eq!(short.command, "[x]");
    }
}
