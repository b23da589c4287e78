//! Brings alerts to one receiver: what is due, sending, trying again. One task per receiver, so that a
//! slow one holds up nobody.

use super::{
    alertmanager,
    board::Board,
    ledger::Ledger,
    notice::{Envelope, Identity, Notice},
    signature, webhook,
};
use crate::{
    config::{Alerts, Target},
    outgoing::Outgoing,
    view::{Event, Page, View},
};
use geophone_proto::{UnixNanos, anomaly::State, incident::Incident, seam::Clock};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::sync::{broadcast, watch};

/// First pause after a failure; doubled up to the longest.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A webhook is told again of an open incident only this often: people read it, not a machine that forgets.
const WEBHOOK_REPEAT: Duration = Duration::from_secs(4 * 3600);
/// How often Alertmanager is asked what became of our alerts.
const READ_BACK: Duration = Duration::from_secs(15);
/// Open incidents looked at in one round.
const ROUND_MAX: usize = 1_000;

/// Which kind of receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Alertmanager,
    Webhook,
}

/// Everything a courier needs.
pub struct Courier {
    kind: Kind,
    target: Target,
    settings: Alerts,
    view: Arc<View>,
    board: Arc<Board>,
    ledger: Ledger,
    /// Something was written to the ledger that a power cut would take.
    is_unsynced: bool,
    outgoing: Outgoing,
    clock: Arc<dyn Clock>,
    is_ready: Arc<dyn Fn() -> bool + Send + Sync>,
    shown: String,
}

/// What one incident needs at this receiver.
struct Due {
    incident: Arc<Incident>,
    identity: Identity,
    /// A severity told before that no longer holds: that label set must end.
    outdated: Option<String>,
}

/// What a receiver made of a delivery.
enum Verdict {
    Taken,
    Refused(String),
    Later(String),
}

impl Courier {
    /// One courier per configured receiver; each keeps its ledger below `folder`.
    pub fn all(settings: &Alerts, folder: &std::path::Path, parts: &Parts) -> Result<Vec<Self>, crate::ServiceError> {
        let managers = settings.alertmanager.iter().map(|target| (Kind::Alertmanager, target));
        let hooks = settings.webhook.iter().map(|target| (Kind::Webhook, target));
        managers
            .chain(hooks)
            .map(|(kind, target)| {
                Ok(Self {
                    kind,
                    target: target.clone(),
                    settings: settings.clone(),
                    view: parts.view.clone(),
                    board: parts.board.clone(),
                    ledger: Ledger::open(folder, &target.url)?,
                    is_unsynced: false,
                    outgoing: parts.outgoing.clone(),
                    clock: parts.clock.clone(),
                    is_ready: parts.is_ready.clone(),
                    shown: without_credentials(&target.url),
                })
            })
            .collect()
    }

    /// Enters open incidents and finds what is due now.
    fn due(&mut self, now: UnixNanos) -> Vec<Due> {
        let page = Page { after: None, limit: ROUND_MAX };
        let (open, _) = self.view.incidents(&page, |incident| incident.state == State::Open);
        let mut is_changed = false;
        for incident in &open {
            is_changed |= self.ledger.enter(&incident.id, || Identity::of(incident));
        }
        if is_changed {
            self.save(false);
        }
        let repeat =
            if self.kind == Kind::Webhook { WEBHOOK_REPEAT.max(self.settings.resend_interval) } else { self.settings.resend_interval };
        let repeat_ns = u64::try_from(repeat.as_nanos()).unwrap_or(u64::MAX);
        let mut due = Vec::new();
        let mut gone = Vec::new();
        for (id, entry) in self.ledger.entries() {
            let Some(incident) = self.view.incident(id) else {
                gone.push(id.clone());
                continue;
            };
            let severity = incident.severity.as_str();
            let outdated = entry.told_severity.clone().filter(|told| told != severity);
            let is_due =
                incident.state == State::Closed || outdated.is_some() || entry.sent_at.is_none_or(|sent| now.since(sent) >= repeat_ns);
            if is_due {
                due.push(Due { incident, identity: entry.identity.clone(), outdated });
            }
        }
        for id in gone {
            // Retention has taken the incident; its alert ends by itself.
            metrics::counter!("geophone_alerts_dropped_total", "reason" => "incident_expired").increment(1);
            self.ledger.strike(&id);
        }
        due
    }

    /// Sends what is due; false if the receiver must be left alone for a while.
    async fn round(&mut self) -> bool {
        let now = self.clock.now();
        let due = self.due(now);
        if due.is_empty() {
            return true;
        }
        let interval_ns = u64::try_from(self.settings.resend_interval.as_nanos()).unwrap_or(u64::MAX);
        let envelope =
            Envelope { external_url: self.settings.external_url.clone(), now, firing_until: now.plus(interval_ns.saturating_mul(3)) };
        let mut is_well = true;
        for one in due {
            let verdict = self.deliver(&one, &envelope).await;
            is_well &= !matches!(verdict, Verdict::Later(_));
            self.note(&one, verdict, now);
            if !is_well {
                break;
            }
        }
        self.save(false);
        is_well
    }

    async fn deliver(&self, due: &Due, envelope: &Envelope) -> Verdict {
        let is_firing = due.incident.state == State::Open;
        let notice = Notice::of(&due.incident, &due.identity, due.incident.severity.as_str(), envelope);
        let mut headers = self.target.headers.clone();
        headers.insert("content-type".into(), "application/json".into());
        let (url, body) = match self.kind {
            Kind::Alertmanager => {
                let outdated =
                    due.outdated.as_ref().map(|severity| Notice::of(&due.incident, &due.identity, severity, envelope).ended(envelope.now));
                let notices: Vec<Notice> = outdated.into_iter().chain([notice]).collect();
                (alertmanager::post_url(&self.target.url), alertmanager::body(&notices))
            }
            Kind::Webhook => {
                let (id, body) = (webhook::idempotency_key(&notice, is_firing), webhook::body(&notice, is_firing, &envelope.external_url));
                if let Some(secret) = &self.target.secret {
                    signature::sign(&mut headers, secret, (&id, envelope.now), &body);
                }
                headers.insert("idempotency-key".into(), id);
                (self.target.url.clone(), body)
            }
        };
        match self.outgoing.send("POST", &url, &headers, body, self.settings.timeout).await {
            Ok(reply) if (200..300).contains(&reply.status) => Verdict::Taken,
            Ok(reply) if reply.status == 429 || reply.status == 408 || reply.status >= 500 => {
                Verdict::Later(format!("answered {}", reply.status))
            }
            Ok(reply) => {
                let words: String = String::from_utf8_lossy(&reply.body).chars().take(200).collect();
                Verdict::Refused(format!("answered {}: {words}", reply.status))
            }
            Err(message) => Verdict::Later(message.replace(&self.target.url, &self.shown)),
        }
    }

    /// Writes down what became of a delivery.
    fn note(&mut self, due: &Due, verdict: Verdict, now: UnixNanos) {
        let id = &due.incident.id;
        let is_closed = due.incident.state == State::Closed;
        let kind = if self.kind == Kind::Alertmanager { "alertmanager" } else { "webhook" };
        let (outcome, state, error) = match verdict {
            Verdict::Taken => ("sent", if is_closed { "resolved" } else { "firing" }, None),
            Verdict::Refused(message) => ("refused", "refused", Some(message)),
            Verdict::Later(message) => ("failed", "pending", Some(message)),
        };
        metrics::counter!("geophone_alerts_total", "receiver" => kind, "outcome" => outcome).increment(1);
        if let Some(message) = &error {
            tracing::warn!(incident = %id, receiver = %self.shown, outcome, "alert not taken: {message}");
        }
        match outcome {
            "failed" => {}
            _ if is_closed => self.ledger.strike(id),
            _ => self.ledger.told(id, due.incident.severity.as_str(), now),
        }
        let shown = self.shown.clone();
        self.board.update(id, &self.target.url, |delivery| {
            delivery.kind = kind.into();
            delivery.receiver = shown;
            state.clone_into(&mut delivery.state);
            delivery.sent_at = if error.is_none() { Some(now) } else { delivery.sent_at };
            delivery.error = error;
        });
    }

    /// Asks Alertmanager what it made of our alerts.
    async fn read_back(&self) {
        if self.kind != Kind::Alertmanager || self.ledger.entries().is_empty() {
            return;
        }
        let url = alertmanager::read_url(&self.target.url);
        let reply = self.outgoing.send("GET", &url, &self.target.headers, Vec::new(), self.settings.timeout).await;
        let Ok(told) = reply.and_then(|reply| alertmanager::read(&reply.body)) else {
            metrics::counter!("geophone_alerts_read_back_failed_total").increment(1);
            return;
        };
        let mut newest: BTreeMap<&str, &alertmanager::Told> = BTreeMap::new();
        for one in &told {
            if let Some(id) = one.labels.get("incident_id") {
                newest.insert(id, one);
            }
        }
        for (id, one) in newest {
            self.board.update(id, &self.target.url, |delivery| {
                delivery.receiver_state = Some(one.status.state.clone());
                delivery.silenced_by.clone_from(&one.status.silenced_by);
                delivery.inhibited_by.clone_from(&one.status.inhibited_by);
            });
        }
    }

    fn save(&mut self, is_synced: bool) {
        self.is_unsynced = !is_synced;
        if let Err(error) = self.ledger.save(is_synced) {
            metrics::counter!("geophone_alerts_ledger_failed_total").increment(1);
            tracing::error!("{error}; alerts may be told twice after a restart");
        }
    }
}

/// Whether an incident has changed since the last look.
fn has_news(changes: &mut broadcast::Receiver<Event>) -> bool {
    let mut is_news = false;
    loop {
        match changes.try_recv() {
            Ok(event) => is_news |= event.kind == "incident",
            Err(broadcast::error::TryRecvError::Lagged(_)) => is_news = true,
            Err(_) => return is_news,
        }
    }
}

/// What all couriers share.
#[derive(Clone)]
pub struct Parts {
    /// Incidents.
    pub view: Arc<View>,
    /// What became of alerts.
    pub board: Arc<Board>,
    /// HTTP.
    pub outgoing: Outgoing,
    /// Wall clock.
    pub clock: Arc<dyn Clock>,
    /// False while the brain reads what the log held at the start: incidents then pass through states
    /// that are long over.
    pub is_ready: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// Brings alerts until told to stop: at once when an incident changes, and when something is due again.
pub async fn run(mut courier: Courier, mut stop: watch::Receiver<bool>) {
    let mut changes = courier.view.listen();
    let mut pause = Duration::ZERO;
    let mut read_back = tokio::time::interval(READ_BACK.min(courier.settings.resend_interval));
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    let mut not_before = tokio::time::Instant::now();
    loop {
        tokio::select! {
            // Told once, or its holder is gone: either way the end.
            _ = stop.changed() => return,
            _ = read_back.tick() => courier.read_back().await,
            _ = tick.tick() => {}
            event = changes.recv() => match event {
                Ok(event) if event.kind != "incident" => continue,
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            },
        }
        if tokio::time::Instant::now() < not_before || !(courier.is_ready)() {
            continue;
        }
        let mut is_well = courier.round().await;
        while is_well && has_news(&mut changes) {
            is_well = courier.round().await;
        }
        // The disk is waited for once all alerts have gone out.
        if courier.is_unsynced {
            courier.save(true);
        }
        pause = if is_well { Duration::ZERO } else { (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX) };
        not_before = tokio::time::Instant::now() + pause;
    }
}

/// An address as it may be shown: user and password cut out.
fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.into() };
    let end = rest.find('/').unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.into(),
    }
}
