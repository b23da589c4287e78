//! The service as an outsider sees it: its public HTTP API and nothing else.

use crate::{error::ServiceError, outgoing::Outgoing};
use geophone_proto::UnixNanos;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

/// As much of an incident as the comparison needs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Found {
    /// Id.
    pub id: String,
    /// `open` or `closed`.
    pub state: String,
    /// When it would have been alerted.
    pub opened_at: UnixNanos,
    /// Short name.
    pub title: String,
    /// Likeliest first.
    pub suspects: Vec<Named>,
}

/// A suspect's name.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Named {
    /// `service.name`, or a database's address.
    pub service: String,
}

/// As much of an action as the comparison needs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Acted {
    /// Its incident.
    pub incident_id: String,
    /// The policy that chose it.
    pub policy: String,
    /// Where it stands.
    pub state: String,
}

#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
    #[serde(default)]
    next_cursor: Option<String>,
}

/// A reader of the API.
pub struct Outsider {
    base: String,
    http: Outgoing,
}

impl Outsider {
    /// Of the service at this address.
    pub fn new(address: SocketAddr) -> Self {
        Self { base: format!("http://{address}"), http: Outgoing::default() }
    }

    /// All incidents, by the time they opened.
    pub async fn incidents(&self) -> Result<Vec<Found>, ServiceError> {
        let mut all: Vec<Found> = self.all("incidents").await?;
        all.sort_by(|a, b| a.opened_at.cmp(&b.opened_at).then_with(|| a.id.cmp(&b.id)));
        Ok(all)
    }

    /// All actions.
    pub async fn actions(&self) -> Result<Vec<Acted>, ServiceError> {
        self.all("actions").await
    }

    /// Records that were acknowledged and not yet thought about.
    pub async fn lag(&self) -> Result<u64, ServiceError> {
        let status: Value = self.get("/api/v1/status").await?;
        Ok(status.get("lag_records").and_then(Value::as_u64).unwrap_or(0))
    }

    /// Waits until at most this many acknowledged records wait for the brain.
    pub async fn catch_up(&self, behind_max: u64) -> Result<(), ServiceError> {
        while self.lag().await? > behind_max {
            tokio::time::sleep(Duration::from_millis(4)).await;
        }
        Ok(())
    }

    async fn all<T: DeserializeOwned>(&self, kind: &str) -> Result<Vec<T>, ServiceError> {
        let mut all = Vec::new();
        let mut cursor = None;
        loop {
            let after = cursor.as_ref().map_or_else(String::new, |cursor| format!("&cursor={cursor}"));
            let list: List<T> = self.get(&format!("/api/v1/{kind}?limit=100{after}")).await?;
            all.extend(list.items);
            cursor = list.next_cursor;
            if cursor.is_none() {
                return Ok(all);
            }
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ServiceError> {
        let url = format!("{}{path}", self.base);
        let reply = self.http.send("GET", &url, &BTreeMap::new(), String::new(), Duration::from_secs(20)).await;
        let reply = reply.map_err(ServiceError::Remote)?;
        if reply.status != 200 {
            return Err(ServiceError::Remote(format!("`{url}` answered {}", reply.status)));
        }
        serde_json::from_slice(&reply.body).map_err(|error| ServiceError::Remote(format!("`{url}` answered something else: {error}")))
    }
}
