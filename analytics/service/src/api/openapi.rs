//! OpenAPI 3.1 of exactly the routes served.

use super::{
    routes::{ROUTES, Route},
    schemas::schemas,
};
use serde_json::{Map, Value, json};

/// The document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let entry = paths.entry(route.path).or_insert_with(|| json!({}));
        entry[route.method] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Geophone",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Times are RFC 3339 in UTC. Lists are pages: pass `next_cursor` as `cursor` to go on. Errors are problem JSON (RFC 9457)."
        },
        "paths": paths,
        "components": {"schemas": schemas()},
    })
}

fn operation(route: &Route) -> Value {
    let in_path = route.path.split(['{', '}']).skip(1).step_by(2);
    let in_path = in_path.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let in_query = route.params.iter().map(|name| json!({"name": name, "in": "query", "required": false, "schema": parameter(name)}));
    let mut parameters: Vec<Value> = in_path.chain(in_query).collect();
    if route.path.contains("}:") {
        parameters.push(json!({"name": "Idempotency-Key", "in": "header", "required": false, "schema": {"type": "string"}}));
    }
    let kind = match route.answer {
        "EventStream" => "text/event-stream",
        "Text" => "text/plain",
        "Svg" => "image/svg+xml",
        "Bytes" => "application/octet-stream",
        _ => "application/json",
    };
    let schema = json!({"$ref": format!("#/components/schemas/{}", route.answer)});
    let problem = json!({"description": "refused or failed", "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}});
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "parameters": parameters,
        "responses": {"200": {"description": "fine", "content": {kind: {"schema": schema}}}, "default": problem},
    });
    let body = match (route.method, route.path) {
        ("post", "/api/v1/query") => Some(("application/json", "Question", true)),
        ("post", "/api/v1/models/{name}/versions") => Some(("multipart/form-data", "ModelFiles", true)),
        ("post", "/api/v1/profile") => Some(("application/json", "ProfileWish", true)),
        ("post", "/api/v1/profile:attach") => Some(("application/json", "ProbeWish", true)),
        ("post", path) if path.starts_with("/api/v1/models/") => Some(("application/json", "ModelWish", false)),
        _ => None,
    };
    if let Some((kind, name, required)) = body {
        let schema = json!({"$ref": format!("#/components/schemas/{name}")});
        operation["requestBody"] = json!({"required": required, "content": {kind: {"schema": schema}}});
        if name == "ModelFiles" {
            let base64 = || json!({"type": "string", "contentEncoding": "base64"});
            let files = json!({"card.toml": {"type": "string"}, "model.onnx": base64(), "check.parquet": base64()});
            let text = json!({"type": "object", "required": ["card.toml", "model.onnx", "check.parquet"], "properties": files});
            operation["requestBody"]["content"]["application/json"] = json!({"schema": text});
        }
    }
    operation
}

/// `get_incidents_id` and the like: unique, because method and path are.
fn operation_id(route: &Route) -> String {
    let path = route.path.trim_start_matches("/api/v1");
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.fold(route.method.to_owned(), |id, word| id + "_" + word)
}

fn parameter(name: &str) -> Value {
    match name {
        "limit" => json!({"type": "integer", "minimum": 1}),
        "min_score" => json!({"type": "number", "minimum": 0, "maximum": 1}),
        "from" | "to" => json!({"type": "string", "description": "RFC 3339, or nanoseconds since 1970"}),
        _ => json!({"type": "string"}),
    }
}
