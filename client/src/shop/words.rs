//! The vocabulary of the shop's telemetry: attributes of spans and the sentences of logs.

use super::{
    draw::Draw,
    floor::{OPERATIONS, Operation, SERVICES, Statement, Way},
};
use geophone_proto::otlp::{
    common::v1::{AnyValue, KeyValue, any_value::Value},
    logs::v1::LogRecord,
};

/// A text attribute.
pub(super) fn text(key: &str, value: impl Into<String>) -> KeyValue {
    pair(key, Value::StringValue(value.into()))
}

/// A whole number as attribute.
pub(super) fn int(key: &str, value: i64) -> KeyValue {
    pair(key, Value::IntValue(value))
}

fn pair(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// A log record without a trace; severity as OTLP numbers it.
pub(super) fn line(severity: i32, text: String, at: u64) -> LogRecord {
    let severity_text = if severity >= 17 { "ERROR" } else { "INFO" };
    LogRecord {
        time_unix_nano: at,
        observed_time_unix_nano: at + 100_000,
        severity_number: severity,
        severity_text: severity_text.to_owned(),
        body: Some(AnyValue { value: Some(Value::StringValue(text)) }),
        ..LogRecord::default()
    }
}

/// HTTP status of an answer.
pub(super) const fn http_status(failed: bool) -> i64 {
    if failed { 500 } else { 200 }
}

/// gRPC status of an answer.
pub(super) const fn rpc_status(failed: bool) -> &'static str {
    if failed { "INTERNAL" } else { "OK" }
}

/// Attributes of the span that serves an operation.
pub(super) fn server_attributes(operation: &Operation, failed: bool, number: u64) -> Vec<KeyValue> {
    match operation.way {
        Way::Http(method, route) => {
            let mut all = vec![
                text("http.request.method", method),
                text("http.route", route),
                text("url.scheme", "http"),
                text("url.path", path(route, number)),
                int("http.response.status_code", http_status(failed)),
            ];
            if failed {
                all.push(text("error.type", "500"));
            }
            all
        }
        Way::Rpc(package) => rpc_attributes(package, operation.name, failed),
    }
}

/// Attributes of the span that calls an operation.
pub(super) fn client_attributes(operation: &Operation, failed: bool, number: u64) -> Vec<KeyValue> {
    let callee = SERVICES[operation.service].name;
    let mut all = match operation.way {
        Way::Http(method, route) => vec![
            text("http.request.method", method),
            text("url.full", format!("http://{callee}:8080{}", path(route, number))),
            int("http.response.status_code", http_status(failed)),
        ],
        Way::Rpc(package) => rpc_attributes(package, operation.name, failed),
    };
    all.push(text("server.address", callee));
    all.push(int("server.port", 8080));
    if failed && matches!(operation.way, Way::Http(..)) {
        all.push(text("error.type", "500"));
    }
    all
}

fn rpc_attributes(package: &str, method: &str, failed: bool) -> Vec<KeyValue> {
    let mut all = vec![
        text("rpc.system.name", "grpc"),
        text("rpc.service", package),
        text("rpc.method", method),
        text("rpc.response.status_code", rpc_status(failed)),
    ];
    if failed {
        all.push(text("error.type", rpc_status(failed)));
    }
    all
}

/// Attributes of a database call.
pub(super) fn query_attributes(statement: &Statement) -> Vec<KeyValue> {
    vec![
        text("db.system.name", statement.system),
        text("db.operation.name", statement.name.split(' ').next().unwrap_or_default()),
        text("db.query.text", statement.text),
        text("server.address", statement.address),
        int("server.port", if statement.system == "redis" { 6379 } else { 5432 }),
    ]
}

/// The name of a client span: as SDKs do, the method alone for HTTP.
pub(super) fn client_name(operation: &Operation) -> String {
    match operation.way {
        Way::Http(method, _) => method.to_owned(),
        Way::Rpc(_) => operation.name.to_owned(),
    }
}

fn path(route: &str, number: u64) -> String {
    match route.split_once('{') {
        Some((before, rest)) => {
            let after = rest.split_once('}').map_or("", |(_, after)| after);
            format!("{before}{}{after}", number % 4000)
        }
        None => route.to_owned(),
    }
}

/// What a service writes about a served request, if anything.
pub(super) fn info(operation: usize, took_ms: f64, number: u64, draw: &mut Draw) -> Option<String> {
    let user = number % 9000 + 1000;
    let id = draw.bits();
    let line = match OPERATIONS[operation].name {
        "PlaceOrder" => format!("order {:012x} placed for user {user}, total {}.{:02} EUR", id >> 16, 5 + id % 240, id % 100),
        "Charge" => format!("charged card ending {:04} for order {:012x}", id % 10_000, id >> 16),
        "POST /shipments" => format!("shipment {:08X} handed to carrier in {took_ms:.0} ms", id >> 32),
        "POST /emails" => format!("sent confirmation to user{user}@example.com"),
        "GetStock" if draw.chance(0.1) => format!("stock of sku {} is {}", id % 4000, id % 90),
        "ListRecommendations" if draw.chance(0.2) => format!("ranked {} candidates for user {user} in {took_ms:.1} ms", 20 + id % 30),
        "GetAds" if draw.chance(0.1) => format!("no ads for category {}, using fallback", id % 40),
        "GET /carts/{user}" if draw.chance(0.15) => format!("cart of user {user} has {} items", id % 12),
        name if operation < 6 && draw.chance(0.35) => {
            format!("{name} from 10.{}.{}.{} answered in {took_ms:.1} ms", id % 256, (id >> 8) % 256, (id >> 16) % 256)
        }
        _ => return None,
    };
    Some(line)
}

/// What a service writes about its own failure.
pub(super) fn failure(operation: usize, draw: &mut Draw) -> (&'static str, String) {
    let id = draw.bits();
    match SERVICES[OPERATIONS[operation].service].name {
        "payment" => {
            ("GatewayError", format!("payment gateway refused charge {:010x}: connection reset after {} ms", id >> 24, 80 + id % 400))
        }
        "inventory" => ("LockTimeout", format!("could not lock stock row {} within {} ms", id % 4000, 200 + id % 60)),
        "catalog" => ("DecodeError", format!("product {} has an unreadable document at byte {}", id % 4000, id % 900)),
        "cart" => ("StaleCart", format!("cart version {} of user {} is stale", id % 70, id % 9000 + 1000)),
        "shipping" => ("CarrierError", format!("carrier answered 503 to quote {:08x}", id >> 32)),
        "email" => ("SmtpError", format!("smtp server closed connection {} unexpectedly", id % 700)),
        "ads" => ("NullPointerException", format!("null campaign for slot {}", id % 40)),
        "recommendation" => ("ModelError", format!("feature vector of user {} has {} missing values", id % 9000 + 1000, 1 + id % 8)),
        _ => ("InternalError", format!("request {:08x} failed: unexpected state {}", id >> 32, id % 9)),
    }
}
