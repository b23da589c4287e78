//! Which rows have a time that can be windowed. The others are counted by reason, and never move time.

use geophone_proto::time::{SECOND_NS, UnixNanos};

/// How far a row may lie beyond its arrival, or beyond the newest event time that is believed.
pub const FUTURE_NS_MAX: u64 = 600 * SECOND_NS;

/// Why a row is not scored: the label `reason` of `geophone_engine_rows_unscored_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Flaw {
    /// No time at all.
    ZeroTime,
    /// More than 10 min beyond both its arrival and what is believed of others.
    FutureTime,
    /// Ends before it starts.
    NegativeDuration,
    /// A value that is no number.
    NotANumber,
    /// Later than the allowed lateness.
    TooLate,
    /// Hours ahead of everything else that arrives.
    TooFarAhead,
    /// The same span again.
    Duplicate,
    /// A kind of row that nobody knows.
    UnknownKind,
    /// The tenant's cap leaves room neither for a series of its own nor for one that it could be folded into.
    NoRoom,
}

impl Flaw {
    /// The label's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ZeroTime => "zero_time",
            Self::FutureTime => "future_time",
            Self::NegativeDuration => "negative_duration",
            Self::NotANumber => "not_a_number",
            Self::TooLate => "too_late",
            Self::TooFarAhead => "too_far_ahead",
            Self::Duplicate => "duplicate",
            Self::UnknownKind => "unknown_kind",
            Self::NoRoom => "no_room",
        }
    }
}

/// What is wrong with a span's times. `now`: its arrival, or the newest believed event time if that is later.
pub const fn span_flaw(start_ns: u64, end_ns: u64, now: UnixNanos) -> Option<Flaw> {
    if start_ns == 0 {
        return Some(Flaw::ZeroTime);
    }
    match time_flaw(end_ns, now) {
        None if start_ns > end_ns => Some(Flaw::NegativeDuration),
        flaw => flaw,
    }
}

/// What is wrong with a point in time; `now` as above.
pub const fn time_flaw(at_ns: u64, now: UnixNanos) -> Option<Flaw> {
    if at_ns == 0 {
        Some(Flaw::ZeroTime)
    } else if at_ns > now.plus(FUTURE_NS_MAX).0 {
        Some(Flaw::FutureTime)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_flaw_has_its_reason_and_a_sound_span_none() {
        let at = UnixNanos(1_000 * SECOND_NS);
        assert_eq!(span_flaw(0, 5, at), Some(Flaw::ZeroTime));
        assert_eq!(span_flaw(5, 0, at), Some(Flaw::ZeroTime));
        assert_eq!(span_flaw(6, 5, at), Some(Flaw::NegativeDuration));
        assert_eq!(span_flaw(5, at.0 + FUTURE_NS_MAX + 1, at), Some(Flaw::FutureTime));
        assert_eq!(span_flaw(5, u64::MAX, UnixNanos(u64::MAX)), None);
        assert_eq!(span_flaw(5, 5, at), None);
    }
}
