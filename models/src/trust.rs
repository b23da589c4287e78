//! Whose models may be loaded: minisign signatures over `card.toml`, which names the hash of `model.onnx`.

use crate::error::{ModelError, quoted};
use minisign_verify::{PublicKey, Signature};

/// Name of the file beside `card.toml`: what `minisign -Sm card.toml` writes.
pub const SIGNATURE_FILE: &str = "card.toml.minisig";

/// Public keys of those whose models may be loaded; none = everybody's.
#[derive(Clone, Debug, Default)]
pub struct Trust(Vec<(String, PublicKey)>);

impl Trust {
    /// Reads keys as the second line of a minisign public key file has them: base64, 56 characters.
    pub fn in_keys(keys: impl IntoIterator<Item = String>) -> Result<Self, ModelError> {
        let read = |key: String| match PublicKey::from_base64(key.trim()) {
            Ok(public) => Ok((key.trim().to_owned(), public)),
            Err(_) => Err(ModelError::Key { key: quoted(&key) }),
        };
        keys.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The keys as they were given.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| &**key)
    }

    /// Holds the bytes of a card against its signature, which is read only if one is wanted.
    pub(crate) fn verify(&self, card: &[u8], signature: impl FnOnce() -> Result<Vec<u8>, ModelError>) -> Result<(), ModelError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let refuse = |reason: String| ModelError::Signature { reason };
        let bytes = signature().map_err(|error| match error {
            ModelError::Unreadable { path, reason } => refuse(format!("cannot read `{}`, {reason}", path.display())),
            other => other,
        })?;
        let signature = String::from_utf8(bytes).ok().and_then(|text| Signature::decode(&text).ok());
        let signature = signature.ok_or_else(|| refuse(format!("{SIGNATURE_FILE} is no minisign signature")))?;
        // The older form signs the card itself and not its hash: as good for a file that is in memory anyway.
        let is_by = |key: &PublicKey| key.verify(card, &signature, true).is_ok();
        if self.0.iter().any(|(_, key)| is_by(key)) {
            return Ok(());
        }
        Err(refuse(format!("{SIGNATURE_FILE} is by none of the trusted keys, or card.toml was changed after it")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by minisign 0.11: `minisign -GW`, `minisign -Sm card.toml -t "signed by the tests"`.
    const CARD: &[u8] = b"name = \"mine\"\n";
    const KEY: &str = "RWTJPXp+81+Zs68WjobBqvGOLzMwVglRejwVe2VyVi/WFGZHNeYOdrmn";
    const SIGNED: &str = "untrusted comment: signature from minisign secret key\n\
        RUTJPXp+81+Zs1gVzZ4jb/m/+G8oDDXYYP6TZViYhlMFztovICudmMopHHxHGm85GQ3RafMmw9YKYAVsLuaHCceMgmTKHUICQgA=\n\
        trusted comment: signed by the tests\n\
        d5NMRPHcwTeOES9UcBZuFHGWyW1T7eOR2SOdxLpnp2cEX/lec/KU6U5cPc98a09hY+KSN29j+N5ZRRCGO7v/Dg==\n";
    /// Of somebody else.
    const OTHER: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    fn verdict(keys: &[&str], card: &[u8], signature: &str) -> Result<(), ModelError> {
        let trust = Trust::in_keys(keys.iter().map(|key| (*key).to_owned())).expect("keys");
        trust.verify(card, || Ok(signature.into()))
    }

    #[test]
    fn a_card_is_taken_from_trusted_keys_only_and_as_it_was_signed() {
        verdict(&[OTHER, KEY], CARD, SIGNED).expect("one of them signed it");
        verdict(&[], CARD, "").expect("nobody asks");
        for (keys, card, signature, why) in [
            (&[OTHER][..], CARD, SIGNED.to_owned(), "none of the trusted keys"),
            (&[KEY], b"name = \"yours\"\n", SIGNED.to_owned(), "changed after it"),
            (&[KEY], CARD, SIGNED.replace("by the tests", "by the testr"), "none of the trusted keys"),
            (&[KEY], CARD, "rubbish".to_owned(), "no minisign signature"),
        ] {
            let error = verdict(keys, card, &signature).expect_err(why);
            assert!(error.to_string().contains(why), "{error}");
        }
        let absent = || Err(ModelError::Unreadable { path: "f/card.toml.minisig".into(), reason: "it is not there".into() });
        let error = Trust::in_keys([KEY.to_owned()]).expect("a key").verify(CARD, absent).expect_err("unsigned");
        assert!(error.to_string().contains("cannot read `f/card.toml.minisig`, it is not there; sign it by `minisign"), "{error}");
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        let error = Trust::in_keys(["no key".to_owned()]).expect_err("no key");
        assert!(error.to_string().contains("`no key`"), "{error}");
    }
}
