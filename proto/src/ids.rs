//! Identities: trace, span, tenant, position in the log.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::{fmt, sync::Arc};

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub [u8; $len]);

        impl $name {
            /// The id that means "none".
            pub const NONE: Self = Self([0; $len]);

            /// Whether this is the all-zero id, which OTLP uses for "none".
            pub fn is_none(&self) -> bool {
                self.0 == [0; $len]
            }

            /// Takes the bytes of a wire field; anything but the exact length is `None`.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// Reads hex digits of either case.
            pub fn from_hex(text: &str) -> Option<Self> {
                let text = text.as_bytes();
                if text.len() != $len * 2 {
                    return None;
                }
                let mut bytes = [0; $len];
                for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
                    let high = (pair[0] as char).to_digit(16)?;
                    let low = (pair[1] as char).to_digit(16)?;
                    *byte = u8::try_from(high << 4 | low).ok()?;
                }
                Some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                // Hex is for people; a snapshot holds a hundred thousand ids.
                if serializer.is_human_readable() { serializer.collect_str(self) } else { serializer.serialize_bytes(&self.0) }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let id = match deserializer.is_human_readable() {
                    true => Self::from_hex(&String::deserialize(deserializer)?),
                    false => Self::from_slice(<&[u8]>::deserialize(deserializer)?),
                };
                id.ok_or_else(|| serde::de::Error::custom(concat!(stringify!($name), " must be ", $len, " bytes, in hex where people read")))
            }
        }
    };
}

hex_id!(
    /// W3C trace id.
    TraceId, 16
);
hex_id!(
    /// W3C span id.
    SpanId, 8
);

/// Whose telemetry it is. `default` where nobody said.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tenant(pub Arc<str>);

impl Default for Tenant {
    fn default() -> Self {
        Self("default".into())
    }
}

/// Position in the log: the only order there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seq(pub u64);

impl Seq {
    /// The position after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_of_either_case_comes_back_in_lower_case() {
        let id = SpanId::from_hex("00F067aa0BA902b7").expect("sixteen hex digits");
        assert_eq!(id.to_string(), "00f067aa0ba902b7");
        assert_eq!(SpanId::from_hex("00f067aa0ba902b"), None);
        assert_eq!(SpanId::from_hex("zzf067aa0ba902b7"), None);
    }
}
