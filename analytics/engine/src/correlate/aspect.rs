//! What a series says about its owner, and what its leaving the band means. Pure classification by
//! kind, name and labels; called once per new series by `map`, and per flag by `weight`.

use geophone_proto::{Series, SeriesKind};
use serde::{Deserialize, Serialize};

/// What a series measures, as far as causes are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aspect {
    /// Duration of an operation of the service, callees included.
    Duration,
    /// Time spent in the service itself.
    Exclusive,
    /// Failing share of an operation.
    Errors,
    /// Requests a second of an operation.
    Rate,
    /// Calls a second over one edge.
    EdgeRate,
    /// Failing share of the calls over one edge.
    EdgeErrors,
    /// Caller's time minus callee's time over one edge.
    EdgeGap,
    /// CPU of a process, pod or host: rising is bad.
    Cpu,
    /// Another resource that runs full: memory, queue, pool, disk. Rising is bad.
    Resource,
    /// What is left of a resource: falling is bad.
    Headroom,
    /// A counter or level of failures: rising is bad.
    Failures,
    /// A latency distribution that came as a metric.
    MetricDuration,
    /// A share of requests that are answered, as a metric: falling is bad.
    Availability,
    /// How many requests came, as a metric.
    Requests,
    /// Any other level.
    Level,
    /// Any other counter.
    Throughput,
    /// Log template at error severity or above.
    ErrorLog,
    /// Log template at warning severity.
    WarnLog,
    /// Any other log template.
    PlainLog,
    /// A plain number without meaning.
    Plain,
    /// A reading of the whole machine, sent by whoever watches it: it says where, not who.
    Machine,
}

/// What a deviation does to people or machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Harm {
    /// None by itself: faster, fewer errors, more traffic, a level nobody knows.
    None,
    /// Something unusual that supports other evidence.
    Hint,
    /// A resource runs full.
    Saturation,
    /// Requests that should come do not.
    Loss,
    /// Slower.
    Latency,
    /// Failing.
    Errors,
}

/// Parts of metric names; compared with whole words of the name.
const CPU: [&str; 2] = ["cpu", "load"];
const FULL: [&str; 21] = [
    "memory",
    "mem",
    "heap",
    "rss",
    "queue",
    "backlog",
    "lag",
    "pending",
    "waiting",
    "pool",
    "disk",
    "filesystem",
    "swap",
    "threads",
    "connections",
    "inflight",
    "saturation",
    "gc",
    "garbage",
    "throttled",
    "goroutines",
];
const LEFT: [&str; 6] = ["free", "available", "idle", "remaining", "headroom", "ready"];
const FAIL: [&str; 14] = [
    "error",
    "errors",
    "failed",
    "failure",
    "failures",
    "exception",
    "exceptions",
    "timeout",
    "timeouts",
    "rejected",
    "dropped",
    "restarts",
    "retransmits",
    "5xx",
];
const REQUESTS: [&str; 3] = ["requests", "calls", "invocations"];
const TIME: [&str; 4] = ["duration", "latency", "time", "elapsed"];

/// A log line names its level among its first words.
const LEVEL_WORDS: usize = 8;
/// First words of metrics that describe a machine.
const MACHINE: [&str; 3] = ["system", "node", "host"];

/// Classifies a series.
pub fn aspect(series: &Series) -> Aspect {
    match series.kind {
        SeriesKind::RequestRate => Aspect::Rate,
        SeriesKind::ErrorRatio => Aspect::Errors,
        SeriesKind::DurationP50 | SeriesKind::DurationP95 | SeriesKind::DurationP99 => Aspect::Duration,
        SeriesKind::ExclusiveTime => Aspect::Exclusive,
        SeriesKind::EdgeRate => Aspect::EdgeRate,
        SeriesKind::EdgeErrorRatio => Aspect::EdgeErrors,
        SeriesKind::EdgeGap => Aspect::EdgeGap,
        SeriesKind::MetricValue | SeriesKind::MetricRate | SeriesKind::MetricP95 => metric_aspect(series),
        SeriesKind::LogRate => log_aspect(series),
        SeriesKind::Value => Aspect::Plain,
    }
}

fn metric_aspect(series: &Series) -> Aspect {
    let words = words(&series.name);
    if words.first().is_some_and(|first| MACHINE.contains(&first.as_str())) {
        return Aspect::Machine;
    }
    let state = series.labels.iter().filter(|(key, _)| key.ends_with("state")).map(|(_, value)| value.to_lowercase());
    let idle = state.into_iter().any(|value| LEFT.contains(&value.as_str()));
    let has = |list: &[&str]| words.iter().any(|word| list.contains(&word.as_str()));
    if words.iter().any(|word| word == "availability") && series.kind == SeriesKind::MetricValue {
        return Aspect::Availability;
    }
    let has_in = |list: &[&str]| words.iter().any(|word| list.iter().any(|known| word.ends_with(known) || word.starts_with(known)));
    if idle || has(&LEFT) {
        Aspect::Headroom
    } else if has(&FAIL) {
        Aspect::Failures
    } else if has(&CPU) || words.iter().any(|word| word.contains("cpu")) {
        Aspect::Cpu
    } else if has_in(&FULL) {
        if series.kind == SeriesKind::MetricRate && !has(&["gc", "throttled", "swap"]) { Aspect::Throughput } else { Aspect::Resource }
    } else if has(&TIME) && series.kind != SeriesKind::MetricRate {
        Aspect::MetricDuration
    } else if has(&REQUESTS) {
        Aspect::Requests
    } else if series.kind == SeriesKind::MetricRate {
        Aspect::Throughput
    } else {
        Aspect::Level
    }
}

/// By severity; where the sender sets none, by the first word of the text that names one.
fn log_aspect(series: &Series) -> Aspect {
    let severity = series.labels.get("severity").map(|word| word.to_uppercase()).unwrap_or_default();
    let of = |word: &str| match word {
        word if word.starts_with("ERR") || word.starts_with("FATAL") || word.starts_with("CRIT") || word.starts_with("SEVERE") => {
            Some(Aspect::ErrorLog)
        }
        word if word.starts_with("WARN") => Some(Aspect::WarnLog),
        "TRACE" | "DEBUG" | "INFO" | "NOTICE" => Some(Aspect::PlainLog),
        _ => None,
    };
    let known = severity.trim_end_matches(|last: char| last.is_ascii_digit());
    if let Some(aspect) = of(known) {
        return aspect;
    }
    let words = || series.name.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    let named = words().take(LEVEL_WORDS).filter(|word| word.chars().all(|letter| letter.is_ascii_uppercase())).find_map(of);
    let is_failure =
        || words().any(|word| word.ends_with("Exception") || word.ends_with("Error") || word == "panic" || word == "Traceback");
    named.unwrap_or_else(|| if is_failure() { Aspect::ErrorLog } else { Aspect::PlainLog })
}

/// Whether a metric tells how long a service waited for others: it is they that are slow.
pub fn is_waiting(series: &Series) -> bool {
    words(&series.name).iter().any(|word| word == "client")
}

/// Whether a metric is the mean of a distribution.
pub fn is_mean(series: &Series) -> bool {
    words(&series.name).iter().any(|word| ["average", "avg", "mean"].contains(&word.as_str()))
}

/// Whether a metric tells of most of a distribution, not only of its tail: a mean or a median.
pub fn is_body(series: &Series) -> bool {
    is_mean(series) || words(&series.name).iter().any(|word| ["median", "p50"].contains(&word.as_str()))
}

/// Lower-case words of a metric name: split at punctuation and before capitals.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut lower_before = false;
    for letter in name.chars() {
        let starts = letter.is_uppercase() && lower_before;
        if !letter.is_alphanumeric() || starts {
            words.push(String::new());
        }
        if letter.is_alphanumeric()
            && let Some(word) = words.last_mut()
        {
            word.extend(letter.to_lowercase());
        }
        lower_before = letter.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What it means that a series of this aspect is above (`up`) or below its band.
pub const fn harm(aspect: Aspect, up: bool) -> Harm {
    match (aspect, up) {
        (Aspect::Duration | Aspect::Exclusive | Aspect::EdgeGap | Aspect::MetricDuration, true) => Harm::Latency,
        (Aspect::Errors | Aspect::EdgeErrors, true) | (Aspect::Availability, false) => Harm::Errors,
        (Aspect::Rate | Aspect::EdgeRate, false) => Harm::Loss,
        (Aspect::Cpu | Aspect::Resource, true) | (Aspect::Headroom, false) => Harm::Saturation,
        (Aspect::Failures | Aspect::ErrorLog | Aspect::WarnLog, true) | (Aspect::Throughput | Aspect::Requests, false) => Harm::Hint,
        (Aspect::Level, _) | (Aspect::Plain, _) => Harm::Hint,
        (
            Aspect::Duration
            | Aspect::Exclusive
            | Aspect::EdgeGap
            | Aspect::MetricDuration
            | Aspect::Errors
            | Aspect::EdgeErrors
            | Aspect::Cpu
            | Aspect::Resource
            | Aspect::Failures
            | Aspect::ErrorLog
            | Aspect::WarnLog,
            false,
        )
        | (Aspect::Rate | Aspect::EdgeRate | Aspect::Headroom | Aspect::Throughput | Aspect::Requests | Aspect::Availability, true)
        | (Aspect::PlainLog | Aspect::Machine, _) => Harm::None,
    }
}

/// Whether a series that goes this way may harm anybody, or hint at harm.
pub fn may_harm(series: &Series, up: bool) -> bool {
    harm(aspect(series), up) != Harm::None
}

#[cfg(test)]
mod tests {
    use super::*;
    use geophone_proto::Tenant;
    use std::collections::BTreeMap;

    fn of(name: &str, kind: SeriesKind) -> Aspect {
        aspect(&Series::new(Tenant::default(), "s", name, kind, BTreeMap::new()))
    }

    #[test]
    fn metric_names_of_many_habits_are_understood() {
        assert_eq!(of("process.cpu.utilization", SeriesKind::MetricValue), Aspect::Cpu);
        assert_eq!(of("CpuUsageRate(%)", SeriesKind::MetricValue), Aspect::Cpu);
        assert_eq!(of("jvm.memory.used", SeriesKind::MetricValue), Aspect::Resource);
        assert_eq!(of("process_resident_memory_bytes", SeriesKind::MetricValue), Aspect::Resource);
        assert_eq!(of("http.server.request.duration", SeriesKind::MetricP95), Aspect::MetricDuration);
        assert_eq!(of("http.server.request.duration", SeriesKind::MetricRate), Aspect::Throughput);
        assert_eq!(of("db.client.connections.timeouts", SeriesKind::MetricRate), Aspect::Failures);
        assert_eq!(of("system.cpu.utilization", SeriesKind::MetricValue), Aspect::Machine);
        assert_eq!(of("requests.sum", SeriesKind::MetricValue), Aspect::Requests);
        assert_eq!(of("availability.average", SeriesKind::MetricValue), Aspect::Availability);
        assert_eq!(of("node.memory.available", SeriesKind::MetricValue), Aspect::Machine);
        assert_eq!(of("memory.available", SeriesKind::MetricValue), Aspect::Headroom);
        assert_eq!(of("", SeriesKind::MetricValue), Aspect::Level);
    }

    #[test]
    fn the_level_of_a_log_line_is_its_senders_or_its_own_word() {
        let of = |name: &str, severity: &str| {
            let labels = BTreeMap::from([("severity".to_owned(), severity.to_owned())]);
            aspect(&Series::new(Tenant::default(), "s", name, SeriesKind::LogRate, labels))
        };
        assert_eq!(of("INFO all is well", "ERROR"), Aspect::ErrorLog);
        assert_eq!(of("<*> ERROR t.c.Travel# <*> no route", "UNSPECIFIED"), Aspect::ErrorLog);
        assert_eq!(of("<*> INFO t.c.Travel# <*> error count <*>", "UNSPECIFIED"), Aspect::PlainLog);
        assert_eq!(of("java.lang.NullPointerException: null", "UNSPECIFIED"), Aspect::ErrorLog);
        assert_eq!(of("an error is mentioned", "UNSPECIFIED"), Aspect::PlainLog);
    }

    #[test]
    fn a_clients_latency_is_waiting() {
        let waits = |name: &str| is_waiting(&Series::new(Tenant::default(), "s", name, SeriesKind::MetricValue, BTreeMap::new()));
        assert!(waits("http.client.request.duration") && waits("PodClientLatencyP99(s)"));
        assert!(!waits("http.server.request.duration") && !waits("clients.time"));
    }

    #[test]
    fn more_traffic_and_faster_answers_do_no_harm() {
        assert_eq!(harm(Aspect::Rate, true), Harm::None);
        assert_eq!(harm(Aspect::Duration, false), Harm::None);
        assert_eq!(harm(Aspect::Rate, false), Harm::Loss);
    }
}
