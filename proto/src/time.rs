//! Time as nanoseconds since 1970 in UTC, as OTLP carries it. Reading a clock is `seam::Clock`'s work.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Nanoseconds in a second.
pub const SECOND_NS: u64 = 1_000_000_000;

/// A point in time; JSON shows it as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UnixNanos(pub u64);

impl UnixNanos {
    /// Later by this many nanoseconds, at most the end of time.
    #[must_use]
    pub const fn plus(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }

    /// Earlier by this many nanoseconds, at least 1970.
    #[must_use]
    pub const fn minus(self, ns: u64) -> Self {
        Self(self.0.saturating_sub(ns))
    }

    /// Nanoseconds from `earlier` to here; 0 if it is later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads RFC 3339; `None` before 1970, after 2554, or if it is none.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        let nanos = DateTime::parse_from_rfc3339(text).ok()?.timestamp_nanos_opt()?;
        u64::try_from(nanos).ok().map(Self)
    }
}

impl fmt::Display for UnixNanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0 / SECOND_NS, self.0 % SECOND_NS);
        // u64 nanoseconds end in 2554, within what chrono can show.
        let at = i64::try_from(seconds).ok().zip(u32::try_from(nanos).ok());
        let at = at.and_then(|(s, n)| DateTime::<Utc>::from_timestamp(s, n)).unwrap_or_default();
        f.write_str(&at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }
}

/// Text for people (JSON), a number for machines (the log and snapshots).
impl Serialize for UnixNanos {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_u64(self.0) }
    }
}

impl<'de> Deserialize<'de> for UnixNanos {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let text = String::deserialize(deserializer)?;
            Self::from_rfc3339(&text).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is not an RFC 3339 time")))
        } else {
            u64::deserialize(deserializer).map(Self)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_number_name_the_same_moment() {
        let at = UnixNanos(1_700_000_000_123_000_000);
        assert_eq!(at.to_string(), "2023-11-14T22:13:20.123Z");
        assert_eq!(UnixNanos::from_rfc3339(&at.to_string()), Some(at));
        assert_eq!(UnixNanos(u64::MAX).to_string().get(..4), Some("2554"));
    }
}
