//! An incident as an alert: labels that identify it, annotations that explain it.

use geophone_proto::{UnixNanos, anomaly::State, incident::Incident};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What makes alerts the same alert: fixed when an incident is first sent. Severity is kept apart,
/// because it may change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// `service.name` of the first suspect at that time.
    pub service_name: String,
    /// What kind of trouble.
    pub alertname: String,
}

impl Identity {
    /// Fixes the identity of an incident.
    pub fn of(incident: &Incident) -> Self {
        let suspect = incident.suspects.first().map(|suspect| suspect.service.clone());
        let service_name = suspect.or_else(|| incident.services.first().cloned()).unwrap_or_default();
        Self { service_name, alertname: "GeophoneIncident".into() }
    }
}

/// One alert as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Notice {
    /// Identity: the same through the incident's life but for `severity`. No score, no time.
    pub labels: BTreeMap<String, String>,
    /// Title, verdict, suspects.
    pub annotations: BTreeMap<String, String>,
    /// Onset, event time.
    pub starts_at: UnixNanos,
    /// While it fires: when it ends by itself if we fall silent. Resolved: when it ended.
    pub ends_at: UnixNanos,
    /// The incident's page.
    #[serde(rename = "generatorURL")]
    pub generator_url: String,
}

/// What does not depend on the incident.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Base of links.
    pub external_url: String,
    /// Wall clock.
    pub now: UnixNanos,
    /// Until when a firing alert holds without being sent again.
    pub firing_until: UnixNanos,
}

impl Notice {
    /// The alert of an incident in its present state, with a severity that may be an older one.
    pub fn of(incident: &Incident, identity: &Identity, severity: &str, envelope: &Envelope) -> Self {
        let ends_at = match incident.state {
            State::Open => envelope.firing_until,
            // Never in the future and never before it began, or a receiver would take it for firing or refuse it.
            State::Closed => incident.closed_at.unwrap_or(envelope.now).min(envelope.now).max(incident.started_at.plus(1)),
        };
        Self {
            labels: labels(incident, identity, severity),
            annotations: annotations(incident),
            starts_at: incident.started_at,
            ends_at,
            generator_url: format!("{}/incidents/{}", envelope.external_url.trim_end_matches('/'), incident.id),
        }
    }

    /// The same alert, ended now: for a label set that is no longer in use.
    #[must_use]
    pub fn ended(mut self, now: UnixNanos) -> Self {
        self.ends_at = now.max(self.starts_at.plus(1));
        self
    }
}

fn labels(incident: &Incident, identity: &Identity, severity: &str) -> BTreeMap<String, String> {
    let pairs = [
        ("alertname", identity.alertname.as_str()),
        ("severity", severity),
        ("service_name", &identity.service_name),
        ("tenant", &incident.tenant.0),
        ("detector", "geophone"),
        ("incident_id", &incident.id),
    ];
    // Alertmanager refuses empty label values.
    pairs.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn annotations(incident: &Incident) -> BTreeMap<String, String> {
    let suspects: Vec<String> = incident
        .suspects
        .iter()
        .map(|suspect| {
            format!("{} {} ({:.0} %): {}", suspect.service, suspect.operation, suspect.confidence * 100.0, suspect.evidence.join("; "))
        })
        .collect();
    let pairs = [
        ("summary", incident.title.clone()),
        ("description", incident.verdict.clone()),
        ("suspects", suspects.join("\n")),
        ("services", incident.services.join(", ")),
        ("opened_at", incident.opened_at.to_string()),
        ("maturity", incident.maturity.as_str().to_owned()),
    ];
    pairs.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.to_owned(), value)).collect()
}
