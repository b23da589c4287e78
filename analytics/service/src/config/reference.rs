//! The reference page and the JSON schema, both made from the table of fields.

use super::fields::{FIELDS, Field, Kind};
use serde_json::{Map, Value, json};
use std::fmt::Write;

const HEAD: &str = "# Configuration\n\n\
Made from the table in `analytics/service/src/config/fields.rs`; a test fails when this page differs.\n\n\
One optional YAML file (`--config FILE`). Without any, the defaults below serve. Unknown keys are refused; \
`geophone validate FILE` lists every problem at once. `${env:NAME}` and `${env:NAME:-default}` are replaced by \
environment variables, `$$` is a dollar sign. Sizes: `512MiB`, `4 MiB`, `1.5GB`. Durations: `500ms`, `10s`, `2m`, `1h`, `7d`. \
Flags (and their `GEOPHONE_*` twins) win over the file. `SIGHUP`, or a change of the file, takes over what is marked *live*; \
the rest needs a restart, and the service says so.\n\n";

const POLICIES: &str = "\n## `actions.policies`\n\n\
Each policy matches an incident and names one action. Programs run without a shell, from an argument list, and only those named here can run.\n\n\
```yaml\n\
actions:\n\
\x20 mode: dry_run\n\
\x20 policies:\n\
\x20   - name: restart-payment                # unique\n\
\x20     when: {suspect: payment, operation: Charge, min_confidence: 0.8, severity: [critical]}   # all must hold; an absent one holds\n\
\x20     do: {exec: {command: [/usr/bin/systemctl, restart, payment], timeout: 10s}}\n\
\x20     undo: {http: {url: \"http://127.0.0.1:9000/undo\", method: POST, timeout: 5s}}\n\
\x20     verify_within: 2m                    # the same detector must see it mended, else undo and escalate\n\
\x20     cooldown: 10m                        # not again before this\n\
\x20     max_per_hour: 3\n\
\x20   - name: slow-the-senders\n\
\x20     do: {throttle: {delay: 500ms, lasting: 5m}}   # answers to the first suspect's exports carry a retry delay\n\
\x20   - name: keep-every-trace\n\
\x20     do: {sample: {ratio: 1.0, lasting: 15m}}      # remote samplers of the first suspect are told so at /sampling?service=NAME\n\
```\n\n\
## `access`: tokens and tenants\n\n\
`geophone token` makes a token and prints the lines for it; the file holds its salted hash only.\n\n\
```yaml\n\
access:\n\
\x20 tokens:\n\
\x20   - name: shop-collector                 # unique; the user where basic authentication is used\n\
\x20     hash: \"sha256:SALT:DIGEST\"          # as `geophone token` prints it\n\
\x20     tenant: shop                         # whose telemetry it brings; `*` = the header may say; default: `default`\n\
\x20     may: [send]                          # send, read (page, API, SQL, /metrics; of all tenants), act (read and approve); default: [send]\n\
\x20 tenants:\n\
\x20   - name: shop                           # `*` = all that are not listed\n\
\x20     requests_per_second: 200             # each may be left out = no limit; one second's worth may come at once\n\
\x20     items_per_second: 50000              # spans, data points, log records, samples\n\
\x20     bytes_per_second: 20MiB              # unpacked\n\
\x20     series_max: 20000                    # series watched; further ones are folded into one marked `overflow`\n\
```\n\n\
A sender shows its token as `authorization: Bearer TOKEN`, or as basic authentication with the token's name and the token; so does a browser. \
No token or a wrong one is answered by 401 / UNAUTHENTICATED, a token without the right or for another tenant by 403 / PERMISSION_DENIED, \
a budget that is used up by 429 / RESOURCE_EXHAUSTED with the time to come again. `/livez`, `/readyz` and gRPC's health check ask for none.\n\n\
## `alerts.webhook[].secret`\n\n\
Messages are then signed: `X-Geophone-Signature: sha256=HEX` is the HMAC-SHA256 of the body, and `webhook-id`, `webhook-timestamp`, \
`webhook-signature: v1,BASE64` are those of Standard Webhooks (a secret that begins with `whsec_` is read as base64). Write it as `${env:NAME}`.\n\n\
## Security\n\n\
Without certificates and tokens the service asks nobody who they are, so it listens on loopback only. Any other address needs certificates or tokens \
for that endpoint, or `allow_unauthenticated_bind: true`, which says that the network keeps strangers out. The API refuses requests whose `Host` is a foreign name (DNS rebinding) and writes that come from another site.\n";

/// The reference page.
pub fn markdown() -> String {
    let mut page = String::from(HEAD);
    page.push_str("| key | value | default | reload | what it does | change it when |\n|---|---|---|---|---|---|\n");
    for field in FIELDS {
        let default = if field.default.is_empty() { "empty".to_owned() } else { format!("`{}`", field.default) };
        let reload = if field.live { "live" } else { "restart" };
        let row =
            format!("| `{}` | {} | {default} | {reload} | {} | {} |\n", field.path, describe(field.kind), field.doc, field.change_when);
        page.push_str(&row);
    }
    page.push_str(POLICIES);
    page
}

fn describe(kind: Kind) -> String {
    let mut text = String::new();
    let written = match kind {
        Kind::Path => write!(text, "path"),
        Kind::Text => write!(text, "text"),
        Kind::Address => write!(text, "host:port, port 0 = any free one"),
        Kind::Size(low, high) => write!(text, "size, {low} to {high}"),
        Kind::Span(low, high) => write!(text, "duration, {low} to {high}"),
        Kind::AutoSpan(low, high) => write!(text, "`auto`, or duration, {low} to {high}"),
        Kind::Number(low, high) => write!(text, "number, {low} to {high}"),
        Kind::Count(low, high) => write!(text, "whole number, {low} to {high}"),
        Kind::Flag => write!(text, "`true` or `false`"),
        Kind::Choice(words) => write!(text, "`{}`", words.join("`, `")),
        Kind::Texts => write!(text, "list of texts"),
        Kind::Targets => write!(text, "list of `{{url, headers, secret}}`"),
        Kind::Tokens => write!(text, "list of tokens"),
        Kind::Tenants => write!(text, "list of tenants"),
        Kind::Policies => write!(text, "list of policies"),
    };
    written.expect("writing to a String cannot fail");
    text
}

/// The JSON schema, for editors.
pub fn schema() -> Value {
    let mut root = object("Geophone's configuration");
    root.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    for field in FIELDS {
        let mut node = &mut root;
        let mut keys: Vec<&str> = field.path.split('.').collect();
        let leaf = keys.pop().unwrap_or_default();
        for key in keys {
            let properties = node.entry("properties").or_insert_with(|| json!({})).as_object_mut().expect("made as an object");
            node = properties.entry(key).or_insert_with(|| Value::Object(object(""))).as_object_mut().expect("made as an object");
        }
        let properties = node.entry("properties").or_insert_with(|| json!({})).as_object_mut().expect("made as an object");
        properties.insert(leaf.into(), leaf_schema(field));
    }
    Value::Object(root)
}

fn object(description: &str) -> Map<String, Value> {
    let mut node = Map::new();
    node.insert("type".into(), json!(["object", "null"]));
    if !description.is_empty() {
        node.insert("description".into(), json!(description));
    }
    node.insert("additionalProperties".into(), json!(false));
    node
}

fn leaf_schema(field: &Field) -> Value {
    let mut node = match field.kind {
        Kind::Path | Kind::Text | Kind::Address => json!({"type": "string"}),
        Kind::Size(..) => json!({"type": ["string", "integer"]}),
        Kind::Span(..) | Kind::AutoSpan(..) => json!({"type": "string"}),
        Kind::Number(low, high) => json!({"type": ["number", "string"], "minimum": low, "maximum": high}),
        Kind::Count(low, high) => json!({"type": ["integer", "string"], "minimum": low, "maximum": high}),
        Kind::Flag => json!({"type": ["boolean", "string"]}),
        Kind::Choice(words) if words.contains(&"true") => json!({"type": ["string", "boolean"]}),
        Kind::Choice(words) => json!({"anyOf": [{"enum": words}, {"type": "string", "pattern": "\\$\\{env:"}]}),
        Kind::Texts => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Targets => {
            json!({"type": "array", "items": {"type": "object", "additionalProperties": false, "required": ["url"], "properties": {
            "url": {"type": "string"}, "headers": {"type": "object", "additionalProperties": {"type": "string"}}, "secret": {"type": "string"}}}})
        }
        Kind::Tokens => {
            json!({"type": "array", "items": {"type": "object", "additionalProperties": false, "required": ["name", "hash"], "properties": {
            "name": {"type": "string"}, "hash": {"type": "string"}, "tenant": {"type": "string"},
            "may": {"type": "array", "items": {"enum": ["send", "read", "act"]}}}}})
        }
        Kind::Tenants => {
            json!({"type": "array", "items": {"type": "object", "additionalProperties": false, "required": ["name"], "properties": {
            "name": {"type": "string"}, "requests_per_second": {"type": "number"}, "items_per_second": {"type": "number"},
            "bytes_per_second": {"type": ["string", "integer"]}, "series_max": {"type": "integer", "minimum": 1}}}})
        }
        Kind::Policies => json!({"type": "array", "items": policy_schema()}),
    };
    let about = format!("{}. Value: {}. Change it when {}.", field.doc, describe(field.kind), field.change_when);
    let map = node.as_object_mut().expect("every arm makes an object");
    map.insert("description".into(), json!(about));
    if !matches!(field.kind, Kind::Texts | Kind::Targets | Kind::Policies | Kind::Tokens | Kind::Tenants) {
        map.insert("default".into(), json!(field.default));
    }
    node
}

fn policy_schema() -> Value {
    let operation = json!({"type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1, "properties": {
        "exec": {"type": "object", "additionalProperties": false, "required": ["command"], "properties": {
            "command": {"type": "array", "items": {"type": "string"}, "minItems": 1}, "timeout": {"type": "string"}}},
        "http": {"type": "object", "additionalProperties": false, "required": ["url"], "properties": {
            "url": {"type": "string"}, "method": {"type": "string"}, "body": {"type": "string"}, "timeout": {"type": "string"},
            "headers": {"type": "object", "additionalProperties": {"type": "string"}}}},
        "throttle": {"type": "object", "additionalProperties": false, "required": ["delay", "lasting"], "properties": {
            "service": {"type": "string"}, "delay": {"type": "string"}, "lasting": {"type": "string"}}},
        "sample": {"type": "object", "additionalProperties": false, "required": ["ratio", "lasting"], "properties": {
            "service": {"type": "string"}, "ratio": {"type": "number", "minimum": 0, "maximum": 1}, "lasting": {"type": "string"}}}}});
    json!({"type": "object", "additionalProperties": false, "required": ["name", "do"], "properties": {
        "name": {"type": "string"},
        "when": {"type": "object", "additionalProperties": false, "properties": {
            "suspect": {"type": "string"}, "operation": {"type": "string"}, "min_confidence": {"type": "number", "minimum": 0, "maximum": 1},
            "severity": {"type": "array", "items": {"enum": ["info", "warning", "critical"]}}}},
        "do": operation.clone(), "undo": operation,
        "verify_within": {"type": "string"}, "cooldown": {"type": "string"}, "max_per_hour": {"type": "integer", "minimum": 0}}})
}
