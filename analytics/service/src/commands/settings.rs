//! Flags that set values of the configuration; they win over the file.

use crate::{
    config::{Config, Spec},
    error::ServiceError,
};
use clap::Args;
use std::path::PathBuf;

/// What `serve`, `demo` and `doctor` take.
#[derive(Clone, Debug, Default, Args)]
pub struct ServiceArgs {
    /// Configuration file (YAML); all of docs/configuration.md.
    #[arg(long, env = "GEOPHONE_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Folder for everything kept [default: ./geophone-data].
    #[arg(long, env = "GEOPHONE_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Where OTLP over gRPC is received [default: 127.0.0.1:4317]; port 0 = any free one.
    #[arg(long, env = "GEOPHONE_OTLP_GRPC_ENDPOINT", value_name = "ADDR")]
    pub otlp_grpc_endpoint: Option<String>,
    /// Where OTLP over HTTP is received [default: 127.0.0.1:4318]; port 0 = any free one.
    #[arg(long, env = "GEOPHONE_OTLP_HTTP_ENDPOINT", value_name = "ADDR")]
    pub otlp_http_endpoint: Option<String>,
    /// Where page, API and /metrics are served [default: 127.0.0.1:8080]; port 0 = any free one.
    #[arg(long, env = "GEOPHONE_HTTP_ENDPOINT", value_name = "ADDR")]
    pub http_endpoint: Option<String>,
    /// When a request is acknowledged: fsync, os or none [default: fsync].
    #[arg(long, env = "GEOPHONE_DURABILITY", value_name = "WORD")]
    pub durability: Option<String>,
    /// What the process aims to stay under [default: 512MiB].
    #[arg(long, env = "GEOPHONE_MEMORY_LIMIT", value_name = "SIZE")]
    pub memory_limit: Option<String>,
    /// Whether stacks of flagged spans are looked up: auto, true or false [default: auto].
    #[arg(long, env = "GEOPHONE_PROFILER", value_name = "WORD")]
    pub profiler: Option<String>,
    /// Allow endpoints that other machines can reach although they have neither certificates nor tokens.
    #[arg(long, env = "GEOPHONE_ALLOW_UNAUTHENTICATED_BIND")]
    pub allow_unauthenticated_bind: bool,
}

impl ServiceArgs {
    /// File and flags together, as written.
    pub fn spec(&self) -> Spec {
        let env = |name: &str| std::env::var(name).ok();
        let mut spec = self.config.as_deref().map(|file| Spec::read(file, &env)).unwrap_or_default();
        let flags = [
            ("data_dir", &self.data_dir),
            ("receivers.otlp.protocols.grpc.endpoint", &self.otlp_grpc_endpoint),
            ("receivers.otlp.protocols.http.endpoint", &self.otlp_http_endpoint),
            ("api.endpoint", &self.http_endpoint),
            ("log.durability", &self.durability),
            ("memory_limit", &self.memory_limit),
            ("profiler.enabled", &self.profiler),
        ];
        for (path, value) in flags {
            if let Some(value) = value {
                spec.set(path, value.clone());
            }
        }
        if self.allow_unauthenticated_bind {
            spec.set("allow_unauthenticated_bind", true);
        }
        spec
    }

    /// File and flags together, checked.
    pub fn resolve(&self) -> Result<Config, ServiceError> {
        Config::from_spec(&self.spec()).map_err(ServiceError::Config)
    }
}
