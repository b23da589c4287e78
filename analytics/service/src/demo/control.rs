//! The shop's own small control endpoint: `POST /services/{name}/recycle` restarts the worker
//! processes of a service. It is what an operator's script would call; the demo's policies call it.

use crate::error::ServiceError;
use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::post,
};
use geophone_client::shop::{Floor, Shop};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

/// The shop, shared by the traffic and the control endpoint.
pub type SharedShop = Arc<Mutex<Shop>>;

/// Locks the shop; every method leaves it consistent.
pub fn open(shop: &SharedShop) -> std::sync::MutexGuard<'_, Shop> {
    shop.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A bound control endpoint that serves until it is dropped.
pub struct Control {
    /// Where it listens.
    pub address: SocketAddr,
    serving: tokio::task::JoinHandle<()>,
}

impl Control {
    /// Binds a free loopback port.
    pub async fn start(shop: SharedShop) -> Result<Self, ServiceError> {
        let fault = || ServiceError::io("open the shop's control endpoint");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.map_err(fault())?;
        let address = listener.local_addr().map_err(fault())?;
        let router = Router::new().route("/services/{name}/recycle", post(recycle)).with_state(shop);
        let serving = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::warn!(%error, "the shop's control endpoint has stopped");
            }
        });
        Ok(Self { address, serving })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn recycle(State(shop): State<SharedShop>, Path(name): Path<String>) -> (StatusCode, Json<Value>) {
    if !Floor::services().any(|known| known == name) {
        return (StatusCode::NOT_FOUND, Json(json!({"error": format!("no service `{name}`")})));
    }
    let memory_freed = open(&shop).recycle(&name);
    (StatusCode::OK, Json(json!({"service": name, "recycled": true, "memory_freed": memory_freed})))
}
