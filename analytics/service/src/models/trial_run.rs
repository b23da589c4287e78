//! The check of a model folder in a child process, so that a model that crashes, hangs or swells takes
//! nothing down but the child.

use super::registry::refused;
use crate::{error::ServiceError, wiring::plain};
use geophone_engine::feature_schema;
use geophone_models::{CheckReport, Trust, check};
use std::{
    io::Read,
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, sync_channel},
    time::Duration,
};

/// The child is stopped after this.
const TIME_MAX: Duration = Duration::from_secs(30);
/// What a child may print at most.
const TEXT_BYTES_MAX: u64 = 1 << 20;

/// Checks in this process: what the child does. Bounds its own memory first.
pub fn in_process(folder: &Path, memory_bytes: u64, trust: &Trust) -> Result<CheckReport, ServiceError> {
    check::limit_memory(memory_bytes).map_err(ServiceError::io("bound the memory of the check"))?;
    geophone_models::check(folder, &feature_schema(), trust).map_err(|error| refused(check::within(error, memory_bytes)))
}

/// Checks in a child of this same program, bounded in memory and time.
pub fn in_child(folder: &Path, memory_bytes: u64, trust: &Trust) -> Result<CheckReport, ServiceError> {
    let program = std::env::current_exe().map_err(ServiceError::io("find this program's own file"))?;
    let mut child = Command::new(program)
        .args(["models", "check", "--in-process", "--output", "json", "--memory-limit", &format!("{memory_bytes}B")])
        .args(trust.keys().flat_map(|key| ["--trusted-key", key]))
        .arg(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(ServiceError::io("start the checking process"))?;
    let answer = listen(child.stdout.take());
    let complaint = listen(child.stderr.take());
    // Both pipes close when the child ends; whoever inherits them is as good as it.
    let printed = answer.recv_timeout(TIME_MAX);
    let Ok(printed) = printed else {
        end(&mut child);
        return Err(refused(check::timed_out(TIME_MAX)));
    };
    let status = child.wait().map_err(ServiceError::io("wait for the checking process"))?;
    let complaint = complaint.recv_timeout(TIME_MAX).unwrap_or_default();
    verdict(status, &printed, &complaint, memory_bytes)
}

fn verdict(status: ExitStatus, printed: &str, complaint: &str, memory_bytes: u64) -> Result<CheckReport, ServiceError> {
    if status.success()
        && let Ok(report) = serde_json::from_str(printed)
    {
        return Ok(report);
    }
    // A refusal in our own words is the last line that begins with `error: `; all else is a crash.
    let own = complaint.lines().rev().find_map(|line| line.strip_prefix("error: "));
    match own {
        Some(sentence) if status.code() == Some(1) => Err(ServiceError::Negative(sentence.to_owned())),
        _ => Err(refused(check::ending(status.signal(), complaint, memory_bytes))),
    }
}

fn end(child: &mut Child) {
    // It may have ended in this moment: then there is nothing to end.
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads a pipe to its end on a thread, so that a full one stops nobody.
fn listen(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = sync_channel(1);
    if let Some(pipe) = pipe {
        let started = plain("check", move || {
            let mut bytes = Vec::new();
            let read = pipe.take(TEXT_BYTES_MAX).read_to_end(&mut bytes);
            if read.is_ok() {
                // Nobody waits any more: the time was over.
                let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
            }
        });
        if let Err(error) = started {
            tracing::error!("{error}");
        }
    }
    receiver
}
