//! Runs a program, calls a URL, or asks senders to slow down. Once, within a timeout.

use crate::outgoing::Outgoing;
use geophone_ingest::{Sampling, Throttle};
use geophone_proto::{
    UnixNanos,
    action::{ActionRequest, Operation, Outcome},
    seam::{Clock, Effector},
};
use std::{collections::BTreeMap, path::Path, process::Stdio, sync::Arc, time::Duration};
use tokio::{io::AsyncReadExt, process::Command, runtime::Handle};

/// Output kept of each stream; the rest is read and dropped, so that the program is not stopped by a full pipe.
const OUTPUT_BYTES_MAX: usize = 4 << 10;

/// The real effector, cheap to clone. Blocking, as the seam asks: call it on a thread that may wait.
#[derive(Clone)]
pub struct LocalEffector {
    /// Where waiting is done.
    pub runtime: Handle,
    /// HTTP.
    pub outgoing: Outgoing,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// Asks senders to slow down.
    pub throttle: Throttle,
    /// Asks senders to sample more or less.
    pub sampling: Sampling,
}

impl Effector for LocalEffector {
    fn perform(&mut self, request: &ActionRequest) -> Outcome {
        let done = self.runtime.block_on(self.attempt(request));
        let succeeded = done.is_ok();
        let output = done.unwrap_or_else(|message| message);
        Outcome { action_id: request.action_id.clone(), is_undo: request.is_undo, succeeded: Some(succeeded), output }
    }
}

impl LocalEffector {
    async fn attempt(&self, request: &ActionRequest) -> Result<String, String> {
        match &request.operation {
            Operation::Exec { command, timeout } => exec(command, *timeout).await,
            Operation::Http { url, method, headers, body, timeout } => {
                let reply = self.outgoing.send(method, url, headers, body.clone().into_bytes(), *timeout).await?;
                let said = cut(&reply.body);
                if (200..300).contains(&reply.status) { Ok(said) } else { Err(format!("`{url}` answered {}: {said}", reply.status)) }
            }
            Operation::Throttle { service, delay, lasting } => {
                let service = named(service, request);
                self.throttle.slow(service, *delay, self.until(*lasting));
                Ok(format!("senders of `{service}` are asked to wait {delay:?} for {lasting:?}"))
            }
            Operation::Sample { service, ratio, lasting } => {
                let service = named(service, request);
                self.sampling.keep(service, *ratio, self.until(*lasting));
                Ok(format!("senders of `{service}` that ask are told to keep {ratio} of their traces for {lasting:?}"))
            }
        }
    }

    fn until(&self, lasting: Duration) -> UnixNanos {
        self.clock.now().plus(u64::try_from(lasting.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// The service that an operation names, or else the first suspect.
fn named<'a>(service: &'a str, request: &'a ActionRequest) -> &'a str {
    if service.is_empty() { &request.service } else { service }
}

/// Runs a program with an argument list: no shell, an empty environment but for a plain `PATH`, no input.
async fn exec(command: &[String], timeout: Duration) -> Result<String, String> {
    let Some((program, arguments)) = command.split_first() else { return Err("the command is empty".into()) };
    if !Path::new(program).is_absolute() {
        return Err(format!("`{program}` is not an absolute path: write where the program lies"));
    }
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(BTreeMap::from([("PATH", "/usr/bin:/bin"), ("LANG", "C.UTF-8")]))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("cannot start `{program}`: {error}"))?;
    let group = child.id();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let finish = async {
        let (out, err) = tokio::join!(keep(stdout), keep(stderr));
        (child.wait().await, out, err)
    };
    let Ok((status, out, err)) = tokio::time::timeout(timeout, finish).await else {
        kill_group(group);
        return Err(format!("`{program}` did not end within {timeout:?} and was killed"));
    };
    let said = [out, err].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n");
    match status {
        Ok(status) if status.success() => Ok(said),
        Ok(status) => Err(format!("`{program}` ended with {status}: {said}")),
        Err(error) => Err(format!("`{program}`: {error}")),
    }
}

/// Kills a program with all it started; `kill` of the system, so that no unsafe code is needed for it.
fn kill_group(group: Option<u32>) {
    if let Some(group) = group {
        let killed = std::process::Command::new("/bin/kill").args(["-KILL", "--", &format!("-{group}")]).status();
        if !killed.is_ok_and(|status| status.success()) {
            tracing::warn!(group, "the processes that a timed-out action started may still run");
        }
    }
}

/// Reads a stream to its end and keeps its beginning.
async fn keep(stream: Option<impl AsyncReadExt + Unpin>) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let (mut kept, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len()).min(read);
        kept.extend_from_slice(&buffer[..room]);
    }
    cut(&kept)
}

fn cut(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(OUTPUT_BYTES_MAX)]).trim_end().to_owned()
}
