//! A container's processes, as the host's `ps` shows them.

use coracle_runtime::container::Top;
use coracle_runtime::{Result, RuntimeError};
use tokio::process::Command;

use super::actor::task_error;
use super::handle::Handle;
use crate::machine;

/// Runs `ps` and picks the container's processes from it.
pub(crate) async fn top(handle: &Handle, ps_args: &str) -> Result<Top> {
    let run = handle.running()?;
    let args = if ps_args.trim().is_empty() {
        "-ef"
    } else {
        ps_args
    };
    check(args)?;
    if machine::is_machine(&handle.now().record.host_config) {
        let processes = run.client.processes().await.map_err(task_error)?;
        return machine::top::top(&processes, args);
    }
    let pids = run.client.pids().await.map_err(task_error)?;
    // Only its own, as dockerd asks: another one's that is throttled in the middle of a change to its
    // memory keeps who reads its command line waiting. Some options don't go with that.
    let only: Vec<String> = pids.iter().map(i32::to_string).collect();
    let mut output = ps(args, &[format!("-q{}", only.join(","))]).await?;
    if !output.status.success() {
        output = ps(args, &[]).await?;
    }
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        // dockerd says the same with status 500, though it is the arguments that are wrong.
        let line = text.lines().next().unwrap_or("ps failed").to_owned();
        return Err(RuntimeError::InvalidArgument(line));
    }
    parse(&String::from_utf8_lossy(&output.stdout), &pids)
}

async fn ps(args: &str, further: &[String]) -> Result<std::process::Output> {
    Command::new("ps")
        .args(args.split_whitespace())
        .args(further)
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| RuntimeError::Internal(format!("cannot run ps: {error}")))
}

/// Docker's rule: `-o` may not rename the column that processes are found by.
fn check(args: &str) -> Result<()> {
    let renames = args.split_whitespace().any(|word| {
        word.split(',')
            .any(|column| column.trim_start_matches("-o").starts_with("pid="))
    });
    if renames {
        return Err(RuntimeError::InvalidArgument(
            "specifying \"PID=\" is not allowed: the column is needed to find the processes".into(),
        ));
    }
    Ok(())
}

fn parse(text: &str, pids: &[i32]) -> Result<Top> {
    let mut lines = text.lines();
    let titles: Vec<String> = lines
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    let column = titles
        .iter()
        .position(|title| title == "PID")
        .ok_or_else(|| {
            RuntimeError::InvalidArgument("Couldn't find PID field in ps output".into())
        })?;
    let mut processes = Vec::new();
    for line in lines {
        let words: Vec<&str> = line.split_whitespace().collect();
        let pid = words.get(column).and_then(|word| word.parse::<i32>().ok());
        if pid.is_none_or(|pid| !pids.contains(&pid)) {
            continue;
        }
        // The last column is the command line, with spaces of its own.
        let fixed = titles.len().saturating_sub(1);
        let mut row: Vec<String> = words
            .iter()
            .take(fixed)
            .map(|word| (*word).to_owned())
            .collect();
        row.push(words.get(fixed..).unwrap_or_default().join(" "));
        processes.push(row);
    }
    Ok(Top { titles, processes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_picked_by_pid() {
        let text = "UID PID CMD\nroot 1 /sbin/init\nme 42 sleep 9 9\n";
        let top = parse(text, &[42]).unwrap();
        assert_eq!(top.titles, ["UID", "PID", "CMD"]);
        assert_eq!(top.processes, [["me", "42", "sleep 9 9"]]);
        assert!(parse("A B\n", &[]).is_err());
    }

    #[test]
    fn the_pid_column_keeps_its_name() {
        assert!(check("-o pid=x,cmd").is_err());
        assert!(check("-o cmd,pid=").is_err());
        check("-eo pid,comm").unwrap();
    }
}
