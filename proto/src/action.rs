//! What may be done about an incident, and what became of it.

use crate::time::UnixNanos;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};

/// Where an action stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionState {
    /// A policy matched, but only says what it would do.
    DryRun,
    /// A gate (cooldown, hourly limit, one at a time) held it back.
    Refused,
    /// Waits for a person.
    AwaitingApproval,
    /// A person said no, or the incident closed first.
    Rejected,
    /// Handed to the effector.
    Running,
    /// Done; the detector has yet to see it mended.
    Verifying,
    /// Done, and mended.
    Mended,
    /// Could not be done.
    Failed,
    /// Done, not mended in time, undo handed to the effector.
    Undoing,
    /// Done, not mended, undone.
    Undone,
    /// Done, not mended, and there is no undo or it failed too.
    Escalated,
}

/// What an effector can do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Operation {
    /// Run a program: argument list, no shell.
    Exec {
        /// Absolute path of the program, then its arguments.
        command: Vec<String>,
        /// Killed after this.
        #[serde(default = "ten_seconds", with = "millis")]
        timeout: Duration,
    },
    /// Call a URL.
    Http {
        /// Where.
        url: String,
        /// `POST` unless said otherwise.
        #[serde(default = "post")]
        method: String,
        /// Header fields.
        #[serde(default)]
        headers: BTreeMap<String, String>,
        /// Body.
        #[serde(default)]
        body: String,
        /// Given up after this.
        #[serde(default = "ten_seconds", with = "millis")]
        timeout: Duration,
    },
    /// Ask senders to slow down: answers to the suspect service's exports carry a delay.
    Throttle {
        /// Whose exports; the first suspect's if empty.
        #[serde(default)]
        service: String,
        /// How long they are asked to wait.
        #[serde(with = "millis")]
        delay: Duration,
        /// For how long they are asked.
        #[serde(with = "millis")]
        lasting: Duration,
    },
    /// Ask senders to sample more, or less: the suspect service's remote samplers learn it when they ask next.
    Sample {
        /// Whose traces; the first suspect's if empty.
        #[serde(default)]
        service: String,
        /// Which part of them is kept, 0 to 1.
        ratio: f64,
        /// For how long.
        #[serde(with = "millis")]
        lasting: Duration,
    },
}

fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

fn post() -> String {
    "POST".into()
}

/// Durations: `10s`, `500ms`, `2m`, `1h` for people; nanoseconds for machines.
pub mod millis {
    use serde::{Deserialize, Deserializer, Serializer};
    use std::time::Duration;

    /// Writes milliseconds with their unit.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(&format_args!("{}ms", duration.as_millis()))
        } else {
            serializer.serialize_u64(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
        }
    }

    /// Reads a number with its unit.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            parse(&text)
                .ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not a duration: write `500ms`, `10s`, `2m`, `1h` or `7d`")))
        } else {
            u64::deserialize(deserializer).map(Duration::from_nanos)
        }
    }

    /// `10s`, `500ms`, `1.5h`; `None` if it is none or negative.
    pub fn parse(text: &str) -> Option<Duration> {
        let text = text.trim();
        let unit_at = text.find(|c: char| c.is_ascii_alphabetic())?;
        let number: f64 = text[..unit_at].trim().parse().ok()?;
        let seconds = match &text[unit_at..] {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return None,
        };
        Duration::try_from_secs_f64(number * seconds).ok()
    }
}

/// An action of an incident, as the API shows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Action {
    /// Hash of incident, policy and time.
    pub id: String,
    /// The incident it belongs to.
    pub incident_id: String,
    /// The policy that chose it.
    pub policy: String,
    /// Where it stands.
    pub state: ActionState,
    /// What is done.
    pub operation: Operation,
    /// What would take it back.
    pub undo: Option<Operation>,
    /// Why: the rule and the values that matched, or the gate that refused.
    pub reason: String,
    /// When the engine decided (event time).
    pub decided_at: UnixNanos,
    /// Until when the detector must see it mended (event time).
    pub verify_until: Option<UnixNanos>,
    /// What was printed or answered, cut to a few KiB.
    pub output: String,
}

/// What the engine asks the effector to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActionRequest {
    /// Id of the action.
    pub action_id: String,
    /// Its incident.
    pub incident_id: String,
    /// First suspect's service.
    pub service: String,
    /// What to do.
    pub operation: Operation,
    /// Whether this is the undo.
    pub is_undo: bool,
}

/// What became of a request; comes back through the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// Id of the action.
    pub action_id: String,
    /// Whether it was the undo.
    pub is_undo: bool,
    /// `None` = begun; else whether it worked.
    pub succeeded: Option<bool>,
    /// What was printed or answered, cut to a few KiB.
    pub output: String,
}

/// A person's word on an action; comes back through the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Id of the action.
    pub action_id: String,
    /// Yes or no.
    pub approved: bool,
    /// Who, as far as known.
    pub by: String,
}
