//! The shape of Alertmanager's own webhook (version 4), so that receivers made for it work. Bodies only.

use super::notice::Notice;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

/// The body for one incident.
pub fn body(notice: &Notice, is_firing: bool, external_url: &str) -> Vec<u8> {
    let status = if is_firing { "firing" } else { "resolved" };
    let mut alert = serde_json::to_value(notice).unwrap_or_default();
    if let Value::Object(fields) = &mut alert {
        fields.insert("status".into(), status.into());
        fields.insert("fingerprint".into(), fingerprint(notice).into());
    }
    let body = json!({
        "version": "4",
        "groupKey": format!("geophone/{}", notice.labels.get("incident_id").map_or("", String::as_str)),
        "truncatedAlerts": 0,
        "status": status,
        "receiver": "geophone",
        "groupLabels": {"incident_id": notice.labels.get("incident_id")},
        "commonLabels": notice.labels,
        "commonAnnotations": notice.annotations,
        "externalURL": external_url,
        "alerts": [alert],
    });
    serde_json::to_vec(&body).unwrap_or_default()
}

/// Tells deliveries of the same state apart from new ones: receivers may drop a repeat.
pub fn idempotency_key(notice: &Notice, is_firing: bool) -> String {
    format!("{}-{}", fingerprint(notice), if is_firing { "firing" } else { "resolved" })
}

fn fingerprint(notice: &Notice) -> String {
    let labels: Vec<String> = notice.labels.iter().map(|(name, value)| format!("{name}\u{ff}{value}")).collect();
    format!("{:016x}", xxh3_64(labels.join("\u{ff}").as_bytes()))
}
