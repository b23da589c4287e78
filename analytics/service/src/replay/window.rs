//! The part of a replay that was asked for (`--from`, `--to`). What lies before it is learnt from all the same.

use super::fold::Outcome;
use crate::error::ServiceError;
use geophone_proto::{UnixNanos, anomaly::Anomaly, incident::Incident};

/// From a moment to a moment, both included, in event time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    from: UnixNanos,
    to: UnixNanos,
}

/// All of it.
impl Default for Window {
    fn default() -> Self {
        Self { from: UnixNanos(0), to: UnixNanos(u64::MAX) }
    }
}

impl Window {
    /// Reads two times as lists of incidents take them: RFC 3339, or nanoseconds since 1970.
    pub fn read(from: Option<&str>, to: Option<&str>) -> Result<Self, ServiceError> {
        let time = |name: &str, text: &str| {
            let found = UnixNanos::from_rfc3339(text).or_else(|| text.parse().ok().map(UnixNanos));
            let message = || format!("`{name} {text}`: must be a time such as 2026-01-31T12:00:00Z, or nanoseconds since 1970");
            found.ok_or_else(|| ServiceError::Usage(message()))
        };
        let all = Self::default();
        let from = from.map_or(Ok(all.from), |text| time("--from", text))?;
        let to = to.map_or(Ok(all.to), |text| time("--to", text))?;
        if from > to {
            return Err(ServiceError::Usage(format!("`--from {from}` is later than `--to {to}`: turn them round")));
        }
        Ok(Self { from, to })
    }

    /// An error if no row of what was replayed, which is of `held`, lies in here.
    pub fn meets(&self, held: Option<(UnixNanos, UnixNanos)>) -> Result<(), ServiceError> {
        match held {
            Some((first, last)) if last < self.from || self.to < first => {
                Err(ServiceError::Negative(format!("nothing that was replayed lies between --from and --to: it is from {first} to {last}")))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether an incident lasted at any moment in here.
    pub fn has(&self, incident: &Incident) -> bool {
        self.touches(incident.started_at, incident.closed_at)
    }

    /// The incidents that lasted at any moment in here, oldest first.
    pub fn incidents<'o>(&self, outcome: &'o Outcome) -> impl Iterator<Item = &'o Incident> {
        let window = *self;
        outcome.incidents.iter().filter(move |incident| window.has(incident))
    }

    /// The anomalies that lasted at any moment in here, by id.
    pub fn anomalies<'o>(&self, outcome: &'o Outcome) -> impl Iterator<Item = &'o Anomaly> {
        let window = *self;
        outcome.anomalies.values().filter(move |anomaly| window.touches(anomaly.opened_at, anomaly.closed_at))
    }

    fn touches(&self, began: UnixNanos, ended: Option<UnixNanos>) -> bool {
        began <= self.to && ended.is_none_or(|ended| ended >= self.from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_held_against_each_other() {
        let at = |text| UnixNanos::from_rfc3339(text).expect("a time");
        let (noon, one) = ("2026-01-31T12:00:00Z", "2026-01-31T13:00:00Z");
        let window = Window::read(Some(noon), Some(&at(one).0.to_string())).expect("two times");
        assert_eq!(window, Window { from: at(noon), to: at(one) });
        assert_eq!(Window::read(None, None).expect("nothing said"), Window::default());
        for (from, to, says) in
            [(Some("noon"), None, "--from noon"), (None, Some("-1"), "--to -1"), (Some(one), Some(noon), "is later than")]
        {
            let error = Window::read(from, to).expect_err(says);
            assert!(matches!(error, ServiceError::Usage(_)) && error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn what_touches_the_window_is_in_it() {
        let window = Window { from: UnixNanos(10), to: UnixNanos(20) };
        let touches = |began, ended: Option<u64>| window.touches(UnixNanos(began), ended.map(UnixNanos));
        assert!(touches(1, None) && touches(1, Some(10)) && touches(20, None) && touches(12, Some(13)));
        assert!(!touches(1, Some(9)) && !touches(21, None));
        let meets = |first, last| window.meets(Some((UnixNanos(first), UnixNanos(last)))).is_ok();
        assert!(meets(0, 10) && meets(20, 30) && meets(0, 30) && !meets(0, 9) && !meets(21, 30));
        assert!(window.meets(None).is_ok());
    }
}
