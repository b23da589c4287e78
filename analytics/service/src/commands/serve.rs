//! `geophone serve`: the service until somebody stops it.

use super::{
    output::{Format, FormatArg, say},
    settings::ServiceArgs,
};
use crate::{
    error::ServiceError,
    wiring::{Addresses, Service, SystemClock, io_runtime, share_heaps},
};
use clap::Args;
use serde_json::json;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receive telemetry, find what is wrong, show it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  geophone serve\n  geophone serve --config geophone.yaml --data-dir /var/lib/geophone\n\n\
SIGHUP, or a change of the file, takes over alerts, actions and tokens; changed certificates are noticed by themselves. SIGTERM and Ctrl-C drain, flush and exit 0.")]
pub struct Serve {
    #[command(flatten)]
    service: ServiceArgs,
    #[command(flatten)]
    format: FormatArg,
}

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);

impl Serve {
    /// Runs until SIGTERM or Ctrl-C.
    pub fn run(self) -> Result<(), ServiceError> {
        let config = self.service.resolve()?;
        share_heaps(config.memory_limit);
        io_runtime()?.block_on(async {
            let [mut terminate, mut interrupt, mut hang_up] = signals()?;
            let mut service = Service::start(config, Arc::new(SystemClock)).await?;
            announce(self.format.format(), service.addresses)?;
            let mut look = tokio::time::interval(LOOK);
            let mut seen = changed_at(self.service.config.as_deref());
            loop {
                tokio::select! {
                    _ = terminate.recv() => break,
                    _ = interrupt.recv() => break,
                    _ = hang_up.recv() => self.reload(&mut service).await,
                    () = service.failed() => {
                        tracing::error!("a part of the service has stopped; shutting down");
                        break;
                    }
                    _ = look.tick() => {
                        let now = changed_at(self.service.config.as_deref());
                        if now != seen {
                            seen = now;
                            self.reload(&mut service).await;
                        }
                    }
                }
            }
            tracing::info!("draining; a second Ctrl-C ends at once");
            tokio::select! {
                stopped = service.stop() => stopped,
                _ = interrupt.recv() => Err(ServiceError::Negative("ended before everything was drained; what was acknowledged is in the log".into())),
            }
        })
    }

    async fn reload(&self, service: &mut Service) {
        match self.service.resolve() {
            Ok(config) => drop(service.reload(config).await),
            Err(error) => {
                metrics::counter!("geophone_reloads_refused_total").increment(1);
                tracing::error!("the old configuration stays: {error}");
            }
        }
    }
}

fn signals() -> Result<[Signal; 3], ServiceError> {
    let listen = |kind| signal(kind).map_err(ServiceError::io("listen to signals"));
    Ok([listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?, listen(SignalKind::hangup())?])
}

fn changed_at(file: Option<&Path>) -> Option<std::time::SystemTime> {
    std::fs::metadata(file?).ok()?.modified().ok()
}

/// The one line on stdout: where everything is, with the real ports.
fn announce(format: Format, addresses: Addresses) -> Result<(), ServiceError> {
    let Addresses { otlp_grpc, otlp_http, http, .. } = addresses;
    match format {
        Format::Table => say(&format!("ready: page {}  OTLP/gRPC {otlp_grpc}  OTLP/HTTP {otlp_http}", addresses.page())),
        Format::Json | Format::Ndjson => say(
            &json!({"event": "ready", "otlp_grpc": otlp_grpc.to_string(), "otlp_http": otlp_http.to_string(), "http": http.to_string()})
                .to_string(),
        ),
    }
}
