//! Signs what goes to a webhook, so that its receiver knows that it came from us, unchanged and now.
//!
//! Two habits at once: `x-geophone-signature` over the body as GitHub does it, and the three headers of
//! Standard Webhooks over id, time and body. The secret is shown nowhere.

use base64::{Engine, engine::general_purpose::STANDARD};
use geophone_proto::UnixNanos;
use ring::hmac;
use std::collections::BTreeMap;

/// Adds the headers of a signature.
pub fn sign(headers: &mut BTreeMap<String, String>, secret: &str, (id, at): (&str, UnixNanos), body: &[u8]) {
    let plain = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body);
    let hex: String = plain.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    headers.insert("x-geophone-signature".into(), format!("sha256={hex}"));
    let seconds = at.0 / 1_000_000_000;
    let key = secret.strip_prefix("whsec_").and_then(|key| STANDARD.decode(key).ok()).unwrap_or_else(|| secret.as_bytes().to_vec());
    let content = [id.as_bytes(), b".", seconds.to_string().as_bytes(), b".", body].concat();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &content);
    headers.insert("webhook-id".into(), id.into());
    headers.insert("webhook-timestamp".into(), seconds.to_string());
    headers.insert("webhook-signature".into(), format!("v1,{}", STANDARD.encode(tag.as_ref())));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The worked example of the Standard Webhooks specification.
    #[test]
    fn the_signature_is_that_of_the_specification() {
        let mut headers = BTreeMap::new();
        let at = UnixNanos(1_614_265_330_000_000_000);
        sign(&mut headers, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", ("msg_p5jXN8AQM9LWM0D4loKWxJek", at), b"{\"test\": 2432232314}");
        assert_eq!(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(headers["webhook-timestamp"], "1614265330");
    }

    /// RFC 4231, test case 2.
    #[test]
    fn the_plain_signature_is_hmac_sha256_of_the_body() {
        let mut headers = BTreeMap::new();
        sign(&mut headers, "Jefe", ("id", UnixNanos(0)), b"what do ya want for nothing?");
        let wanted = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(headers["x-geophone-signature"], wanted);
    }
}
