//! The real service, as `geophone serve` runs it, in a temporary folder.

use crate::{
    config::{Config, Spec},
    error::ServiceError,
    wiring::{Addresses, Service},
};
use geophone_proto::seam::Clock;
use std::{net::TcpListener, sync::Arc};
use tempfile::TempDir;

/// Where a person would look for the page.
const USUAL_PAGE: &str = "127.0.0.1:8080";
const ANY_PORT: &str = "127.0.0.1:0";

/// How the server should be.
pub struct Wanted {
    /// Where the page is wished, if anywhere.
    pub http: Option<String>,
    /// Where OTLP over gRPC is received.
    pub otlp_grpc: String,
    /// Where OTLP over HTTP is received.
    pub otlp_http: String,
    /// Whether nobody looks for the page at its usual port.
    pub page_port_is_free: bool,
    /// What may be done about incidents.
    pub policies: serde_json::Value,
}

/// A running service and its folder, which goes with it.
pub struct Server {
    service: Service,
    _folder: TempDir,
}

impl Server {
    /// Starts it; actions are in automatic mode, everything else is as by default.
    pub async fn start(wanted: Wanted, clock: Arc<dyn Clock>) -> Result<Self, ServiceError> {
        let folder = TempDir::with_prefix("geophone-demo-").map_err(ServiceError::io("make a temporary folder"))?;
        let policies = serde_yaml_ng::to_value(wanted.policies).map_err(|error| ServiceError::Usage(error.to_string()))?;
        let mut spec = Spec::default();
        spec.set("data_dir", folder.path().display().to_string());
        spec.set("receivers.otlp.protocols.grpc.endpoint", wanted.otlp_grpc);
        spec.set("receivers.otlp.protocols.http.endpoint", wanted.otlp_http);
        spec.set("api.endpoint", wanted.http.unwrap_or_else(|| page(wanted.page_port_is_free)));
        // The folder does not outlive the process: nothing is gained by waiting for the disk.
        spec.set("log.durability", "os");
        spec.set("actions.mode", "auto");
        // A check compares simulated time only: nothing real runs that could have stacks.
        spec.set("profiler.enabled", if wanted.page_port_is_free { "false" } else { "auto" });
        spec.set("actions.policies", policies);
        let config = Config::from_spec(&spec).map_err(ServiceError::Config)?;
        Ok(Self { service: Service::start(config, clock).await?, _folder: folder })
    }

    /// Where it listens.
    pub const fn endpoints(&self) -> Addresses {
        self.service.addresses
    }

    /// Returns once a part of it has ended that should not have.
    pub async fn failed(&self) {
        self.service.failed().await;
    }

    /// Ends it and removes the folder.
    pub async fn stop(self) -> Result<(), ServiceError> {
        self.service.stop().await
    }
}

/// The usual port if it is free, else any.
fn page(any: bool) -> String {
    let usual = !any && TcpListener::bind(USUAL_PAGE).is_ok();
    if usual { USUAL_PAGE.to_owned() } else { ANY_PORT.to_owned() }
}
