//! Who works in the shop: services, their operations, whom they call, and on which host they run.
//!
//! Static except for two things that a seed decides: the host of a service and how fast each
//! operation is by nature.

use super::draw::Draw;

/// Names of the hosts.
pub const HOSTS: [&str; 3] = ["host-a", "host-b", "host-c"];
/// Processor cores of each host.
pub const CORES: f64 = 4.0;

/// A service as it is at the start of day one.
pub(super) struct Service {
    pub(super) name: &'static str,
    pub(super) language: &'static str,
    pub(super) version: [u32; 3],
    pub(super) memory_mib: f64,
    /// Name of its queue, for those that have one.
    pub(super) queue: Option<&'static str>,
}

/// How an operation is called.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// HTTP with method and route.
    Http(&'static str, &'static str),
    /// gRPC with its service; the operation's name is the method.
    Rpc(&'static str),
}

/// One thing an operation does between stretches of its own work.
pub(super) enum Step {
    /// Calls operation `to`; if it is optional, a failure is survived.
    Call { to: usize, chance: f64, optional: bool },
    /// Runs a database statement.
    Query { statement: usize, chance: f64 },
}

/// Something a service can be asked for.
pub(super) struct Operation {
    pub(super) service: usize,
    /// Span name; for HTTP `METHOD route`.
    pub(super) name: &'static str,
    pub(super) way: Way,
    /// Median of the time that it spends on its own.
    pub(super) own_ms: f64,
    /// Name of the internal span around its first stretch of work, if any.
    pub(super) inner: Option<&'static str>,
    /// Share that fails on a normal day.
    pub(super) error_share: f64,
    pub(super) steps: &'static [Step],
}

/// A database statement.
pub(super) struct Statement {
    pub(super) name: &'static str,
    pub(super) system: &'static str,
    pub(super) address: &'static str,
    pub(super) text: &'static str,
    pub(super) median_ms: f64,
}

const fn call(to: usize, chance: f64) -> Step {
    Step::Call { to, chance, optional: false }
}
const fn try_call(to: usize, chance: f64) -> Step {
    Step::Call { to, chance, optional: true }
}
const fn query(statement: usize, chance: f64) -> Step {
    Step::Query { statement, chance }
}

pub(super) const FRONTEND: usize = 0;
const CART: usize = 1;
const CHECKOUT: usize = 2;
const PAYMENT: usize = 3;
const SHIPPING: usize = 4;
const CATALOG: usize = 5;
const RECOMMENDATION: usize = 6;
const INVENTORY: usize = 7;
const ADS: usize = 8;
const EMAIL: usize = 9;

const fn service(name: &'static str, language: &'static str, version: [u32; 3], memory_mib: f64) -> Service {
    Service { name, language, version, memory_mib, queue: None }
}
const fn queued(name: &'static str, language: &'static str, version: [u32; 3], memory_mib: f64, queue: &'static str) -> Service {
    Service { name, language, version, memory_mib, queue: Some(queue) }
}

/// The ten services, callers before callees where that is possible.
pub(super) static SERVICES: [Service; 10] = [
    service("frontend", "nodejs", [3, 8, 1], 310.0),
    service("cart", "dotnet", [1, 4, 0], 220.0),
    queued("checkout", "go", [2, 1, 7], 95.0, "checkout.orders.pending"),
    service("payment", "java", [5, 0, 2], 640.0),
    queued("shipping", "rust", [0, 9, 3], 48.0, "shipping.labels.pending"),
    service("catalog", "go", [1, 12, 0], 130.0),
    service("recommendation", "python", [1, 1, 9], 410.0),
    service("inventory", "java", [2, 6, 4], 560.0),
    service("ads", "java", [0, 7, 1], 480.0),
    queued("email", "python", [1, 0, 5], 150.0, "email.outbox.length"),
];

/// Index of the first operation that is not an entry.
pub(super) const ENTRIES: [(usize, f64); 6] = [(0, 0.25), (1, 0.32), (2, 0.11), (3, 0.12), (4, 0.09), (5, 0.11)];

const LIST_RECOMMENDATIONS: usize = 6;
const GET_ADS: usize = 7;
const GET_PRODUCT: usize = 8;
const SEARCH: usize = 9;
const GET_STOCK: usize = 10;
const RESERVE: usize = 11;
const GET_CART: usize = 12;
const ADD_ITEM: usize = 13;
const PLACE_ORDER: usize = 14;
const CHARGE: usize = 15;
const QUOTE: usize = 16;
const SHIP: usize = 17;
const CONFIRM: usize = 18;

const fn http(service: usize, name: &'static str, method: &'static str, route: &'static str, own_ms: f64) -> Operation {
    Operation { service, name, way: Way::Http(method, route), own_ms, inner: None, error_share: 0.002, steps: &[] }
}
const fn rpc(service: usize, name: &'static str, package: &'static str, own_ms: f64) -> Operation {
    Operation { service, name, way: Way::Rpc(package), own_ms, inner: None, error_share: 0.002, steps: &[] }
}

/// All operations; the first six are what customers ask for.
pub(super) static OPERATIONS: [Operation; 19] = [
    Operation {
        inner: Some("render home"),
        steps: &[try_call(LIST_RECOMMENDATIONS, 1.0), try_call(GET_ADS, 0.8)],
        ..http(FRONTEND, "GET /", "GET", "/", 9.0)
    },
    Operation {
        inner: Some("render product"),
        steps: &[call(GET_PRODUCT, 1.0), call(GET_STOCK, 1.0), try_call(LIST_RECOMMENDATIONS, 0.5), try_call(GET_ADS, 0.5)],
        ..http(FRONTEND, "GET /product/{id}", "GET", "/product/{id}", 11.0)
    },
    Operation { steps: &[call(SEARCH, 1.0)], ..http(FRONTEND, "GET /search", "GET", "/search", 8.0) },
    Operation { steps: &[call(GET_CART, 1.0), call(QUOTE, 0.6)], ..http(FRONTEND, "GET /cart", "GET", "/cart", 7.0) },
    Operation { steps: &[call(GET_PRODUCT, 0.6), call(ADD_ITEM, 1.0)], ..http(FRONTEND, "POST /cart", "POST", "/cart", 5.0) },
    Operation {
        inner: Some("check form"),
        error_share: 0.001,
        steps: &[call(PLACE_ORDER, 1.0)],
        ..http(FRONTEND, "POST /checkout", "POST", "/checkout", 8.0)
    },
    Operation {
        inner: Some("rank candidates"),
        steps: &[query(0, 1.0), call(GET_PRODUCT, 0.7)],
        ..rpc(RECOMMENDATION, "ListRecommendations", "shop.Recommendation", 14.0)
    },
    Operation { steps: &[query(1, 0.6)], ..rpc(ADS, "GetAds", "shop.Ads", 6.0) },
    Operation { steps: &[query(2, 1.0)], ..rpc(CATALOG, "GetProduct", "shop.Catalog", 4.0) },
    Operation { inner: Some("parse query"), steps: &[query(3, 1.0)], ..rpc(CATALOG, "SearchProducts", "shop.Catalog", 7.0) },
    Operation { error_share: 0.001, steps: &[query(4, 1.0)], ..rpc(INVENTORY, "GetStock", "shop.Inventory", 3.0) },
    Operation { steps: &[query(5, 1.0)], ..rpc(INVENTORY, "Reserve", "shop.Inventory", 5.0) },
    Operation { error_share: 0.001, steps: &[query(6, 1.0)], ..http(CART, "GET /carts/{user}", "GET", "/carts/{user}", 4.0) },
    Operation {
        steps: &[query(7, 1.0), call(GET_STOCK, 0.7)],
        ..http(CART, "POST /carts/{user}/items", "POST", "/carts/{user}/items", 6.0)
    },
    Operation {
        inner: Some("price order"),
        steps: &[
            call(GET_CART, 1.0),
            call(RESERVE, 1.0),
            call(QUOTE, 1.0),
            call(CHARGE, 1.0),
            query(8, 1.0),
            call(SHIP, 1.0),
            try_call(CONFIRM, 1.0),
        ],
        ..rpc(CHECKOUT, "PlaceOrder", "shop.Checkout", 12.0)
    },
    Operation {
        inner: Some("authorize card"),
        error_share: 0.004,
        steps: &[query(9, 1.0)],
        ..rpc(PAYMENT, "Charge", "shop.Payment", 38.0)
    },
    Operation { steps: &[], ..http(SHIPPING, "POST /quotes", "POST", "/quotes", 6.0) },
    Operation { steps: &[query(10, 1.0)], ..http(SHIPPING, "POST /shipments", "POST", "/shipments", 9.0) },
    Operation { inner: Some("render mail"), error_share: 0.003, ..http(EMAIL, "POST /emails", "POST", "/emails", 16.0) },
];

const fn statement(name: &'static str, system: &'static str, address: &'static str, text: &'static str, median_ms: f64) -> Statement {
    Statement { name, system, address, text, median_ms }
}

/// All database statements.
pub(super) static STATEMENTS: [Statement; 11] = [
    statement("ZRANGE", "redis", "recommendation-cache", "ZRANGE ? 0 9 REV", 1.2),
    statement("MGET", "redis", "ads-cache", "MGET ? ?", 1.0),
    statement("SELECT products", "postgresql", "catalog-db", "SELECT * FROM products WHERE id = $1", 3.0),
    statement("SELECT products", "postgresql", "catalog-db", "SELECT id FROM products WHERE search @@ plainto_tsquery($1) LIMIT 20", 18.0),
    statement("GET", "redis", "inventory-cache", "GET ?", 0.8),
    statement("UPDATE stock", "postgresql", "inventory-db", "UPDATE stock SET reserved = reserved + $1 WHERE sku = $2", 5.0),
    statement("HGETALL", "redis", "cart-store", "HGETALL ?", 1.1),
    statement("HSET", "redis", "cart-store", "HSET ? ? ?", 1.3),
    statement("INSERT orders", "postgresql", "orders-db", "INSERT INTO orders (id, user_id, total) VALUES ($1, $2, $3)", 6.0),
    statement("INSERT charges", "mysql", "payment-db", "INSERT INTO charges VALUES (?, ?, ?)", 5.0),
    statement("INSERT shipments", "postgresql", "shipping-db", "INSERT INTO shipments (order_id, carrier) VALUES ($1, $2)", 4.0),
];

/// What a seed decides about the shop.
#[derive(Clone, Debug)]
pub struct Floor {
    /// Host (index into `HOSTS`) of each service.
    pub(super) host: Vec<usize>,
    /// Factor on the natural speed of each operation.
    pub(super) pace: Vec<f64>,
    /// Requests a second at the entry, averaged over a day.
    pub(super) entry_rate: f64,
}

impl Floor {
    /// Deals the services to the hosts.
    pub fn seeded(seed: u64) -> Self {
        let mut draw = Draw::new(seed, 1);
        let mut order: Vec<usize> = (0..SERVICES.len()).collect();
        draw.shuffle(&mut order);
        let mut host = vec![0; SERVICES.len()];
        order.iter().enumerate().for_each(|(place, service)| host[*service] = place % HOSTS.len());
        let pace = OPERATIONS.iter().map(|_| draw.lognormal(1.0, 0.15)).collect();
        Self { host, pace, entry_rate: draw.between(8.5, 11.0) }
    }

    /// Names of the services, in a fixed order.
    pub fn services() -> impl Iterator<Item = &'static str> {
        SERVICES.iter().map(|service| service.name)
    }

    /// Host of a service.
    pub fn host_of(&self, service: &str) -> Option<&'static str> {
        index_of(service).map(|service| HOSTS[self.host[service]])
    }

    /// Requests a second that reach each operation on an average moment.
    pub(super) fn rates(&self) -> Vec<f64> {
        let mut rates = vec![0.0; OPERATIONS.len()];
        for (entry, share) in ENTRIES {
            spread(entry, self.entry_rate * share, &mut rates);
        }
        rates
    }
}

fn spread(operation: usize, rate: f64, rates: &mut [f64]) {
    rates[operation] += rate;
    for step in OPERATIONS[operation].steps {
        if let Step::Call { to, chance, .. } = step {
            spread(*to, rate * chance, rates);
        }
    }
}

/// Index of a service by name.
pub(super) fn index_of(service: &str) -> Option<usize> {
    SERVICES.iter().position(|known| known.name == service)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_service_is_reached_and_shares_its_host() {
        let floor = Floor::seeded(1);
        assert!(floor.rates().iter().all(|rate| *rate > 0.3), "{:?}", floor.rates());
        for host in 0..HOSTS.len() {
            assert!(floor.host.iter().filter(|of| **of == host).count() >= 3);
        }
        assert!((ENTRIES.iter().map(|(_, share)| share).sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
