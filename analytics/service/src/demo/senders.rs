//! The shop's services as OTLP clients: one client each, half of them over gRPC, half over HTTP.
//! A batch counts as sent when it is acknowledged, so the shop's time cannot outrun the receiver.

use crate::{error::ServiceError, wiring::Addresses};
use geophone_client::{Client, ClientConfig, ClientError, Compression, ExportRequest, Protocol, RetryPolicy, shop::Sent};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// Clients by service.
pub struct Senders {
    endpoints: Addresses,
    seed: u64,
    clients: HashMap<&'static str, Arc<Client>>,
    /// Items acknowledged so far.
    pub acked: u64,
}

impl Senders {
    /// Connects when the first request leaves.
    pub fn new(endpoints: Addresses, seed: u64) -> Self {
        Self { endpoints, seed, clients: HashMap::new(), acked: 0 }
    }

    /// Sends all of it, services side by side, each in its own order; returns when all is acknowledged.
    pub async fn send(&mut self, sent: Vec<Sent>) -> Result<(), ServiceError> {
        let mut by_service: HashMap<&'static str, Vec<ExportRequest>> = HashMap::new();
        for one in sent {
            by_service.entry(one.service).or_default().push(one.request);
        }
        let mut under_way = JoinSet::new();
        for (service, requests) in by_service {
            under_way.spawn(deliver(self.client(service)?, requests));
        }
        while let Some(outcome) = under_way.join_next().await {
            let outcome = outcome.map_err(|_| ServiceError::Stopped("shop"))?;
            self.acked += outcome.map_err(|error| ServiceError::room(error.class(), error))?;
        }
        Ok(())
    }

    fn client(&mut self, service: &'static str) -> Result<Arc<Client>, ServiceError> {
        if let Some(client) = self.clients.get(service) {
            return Ok(client.clone());
        }
        let number = self.clients.len() as u64;
        let over_grpc = service.len().is_multiple_of(2);
        let config = ClientConfig {
            endpoint: if over_grpc { self.endpoints.otlp_grpc.to_string() } else { self.endpoints.otlp_http.to_string() },
            protocol: if over_grpc { Protocol::Grpc } else { Protocol::HttpProtobuf },
            compression: if over_grpc { Compression::None } else { Compression::Gzip },
            timeout: Duration::from_secs(20),
            retry: RetryPolicy {
                initial: Duration::from_millis(20),
                max: Duration::from_secs(2),
                seed: self.seed ^ number << 32,
                ..RetryPolicy::default()
            },
            ..ClientConfig::default()
        };
        let client = Arc::new(Client::new(config).map_err(|error| ServiceError::room(error.class(), error))?);
        self.clients.insert(service, client.clone());
        Ok(client)
    }
}

async fn deliver(client: Arc<Client>, requests: Vec<ExportRequest>) -> Result<u64, ClientError> {
    let mut acked = 0;
    for request in requests {
        acked += client.export(request).await?.accepted;
    }
    Ok(acked)
}
