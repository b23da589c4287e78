//! A token as the configuration holds it: its salted SHA-256, never itself.
//!
//! One fast hash is enough because tokens are long and random (`geophone token` makes them so); it is no
//! place for a word that a person made up.

use ring::digest::{Context, SHA256};
use std::fmt;
use subtle::ConstantTimeEq;

/// Shorter secrets can be guessed.
pub const SECRET_BYTES_MIN: usize = 16;

const DIGEST_BYTES: usize = 32;

/// `sha256:SALT:DIGEST`, both in hex; `sha256:DIGEST` where there is no salt.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretHash {
    salt: Vec<u8>,
    digest: [u8; DIGEST_BYTES],
}

impl SecretHash {
    /// Hashes a secret.
    pub fn of(secret: &[u8], salt: &[u8]) -> Self {
        Self { salt: salt.to_vec(), digest: digest(salt, secret) }
    }

    /// Reads what `Display` writes; the error says what to do.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || "is not a hash: write `sha256:SALT:DIGEST` as `geophone token` prints it, never the token itself".to_owned();
        let rest = text.strip_prefix("sha256:").ok_or_else(wrong)?;
        let (salt, hex) = rest.split_once(':').unwrap_or(("", rest));
        let salt = from_hex(salt).ok_or_else(wrong)?;
        let digest = from_hex(hex).and_then(|bytes| bytes.try_into().ok()).ok_or_else(wrong)?;
        Ok(Self { salt, digest })
    }

    /// Whether it is the hash of this secret; takes the same time whatever differs.
    pub fn matches(&self, secret: &[u8]) -> bool {
        self.digest.ct_eq(&digest(&self.salt, secret)).into()
    }
}

/// The digest itself is nobody's business in a log.
impl fmt::Debug for SecretHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SecretHash(..)")
    }
}

impl fmt::Display for SecretHash {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("sha256:")?;
        if !self.salt.is_empty() {
            hex(out, &self.salt)?;
            out.write_str(":")?;
        }
        hex(out, &self.digest)
    }
}

fn hex(out: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.bytes().map(|byte| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// SHA-256 of both, one behind the other.
pub(super) fn digest(salt: &[u8], secret: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut context = Context::new(&SHA256);
    context.update(salt);
    context.update(secret);
    let mut out = [0; DIGEST_BYTES];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_reads_back_and_fits_its_secret_only() {
        for salt in [b"".as_slice(), b"salt"] {
            let hash = SecretHash::of(b"open sesame, please", salt);
            let read = SecretHash::parse(&hash.to_string()).expect("our own writing");
            assert_eq!(read, hash);
            assert!(read.matches(b"open sesame, please") && !read.matches(b"open sesame, pleasf") && !read.matches(b""));
        }
        // What `printf abc | sha256sum` prints.
        let known = SecretHash::parse("sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad").expect("a hash");
        assert!(known.matches(b"abc"));
    }

    #[test]
    fn what_is_no_hash_is_refused_and_never_shown() {
        for text in [
            "",
            "secret",
            "sha256:",
            "sha256:zz",
            "sha256:00",
            "md5:00",
            "sha256:0:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ] {
            let message = SecretHash::parse(text).expect_err("no hash");
            assert!(!message.contains("secret`") && message.contains("geophone token"), "{text}");
        }
        assert_eq!(format!("{:?}", SecretHash::of(b"x", b"y")), "SecretHash(..)");
    }
}
