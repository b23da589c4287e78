//! Certificates for tests, made on the spot: an authority and what it vouches for, on the curve P-256.
//!
//! Not for anything else: it writes just as much X.509 as a peer needs to accept it.

use ring::{
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair},
};

/// `1.2.840.10045.4.3.2`, ecdsa-with-SHA256.
const ECDSA_SHA256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// `1.2.840.10045.2.1` and `1.2.840.10045.3.1.7`: an EC key on P-256.
const P256_KEY: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
const BASIC_CONSTRAINTS: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x13];
const ALTERNATIVE_NAMES: &[u8] = &[0x06, 0x03, 0x55, 0x1d, 0x11];

/// A certificate and its key, both PEM.
pub struct Certificate {
    /// The certificate.
    pub cert: String,
    /// Its key, PKCS#8.
    pub key: String,
}

/// Vouches for others.
pub struct Authority {
    name: String,
    key: EcdsaKeyPair,
    /// Its own certificate, PEM.
    pub cert: String,
}

impl Authority {
    /// A new authority.
    pub fn new(name: &str) -> Self {
        let (key, _) = key_pair();
        let constraints = extension(BASIC_CONSTRAINTS, &sequence(&[&tagged(0x01, &[0xff])]));
        let cert = certificate((name, &key), name, &key, &[constraints]);
        Self { name: name.into(), cert: pem("CERTIFICATE", &cert), key }
    }

    /// A certificate for `localhost` and 127.0.0.1, of whose owner it says `name`.
    pub fn issue(&self, name: &str) -> Certificate {
        let (key, pkcs8) = key_pair();
        let names = sequence(&[&tagged(0x82, b"localhost"), &tagged(0x87, &[127, 0, 0, 1])]);
        let cert = certificate((&self.name, &self.key), name, &key, &[extension(ALTERNATIVE_NAMES, &names)]);
        Certificate { cert: pem("CERTIFICATE", &cert), key: pem("PRIVATE KEY", &pkcs8) }
    }
}

/// A certificate for `localhost` and 127.0.0.1 that vouches for itself, as `openssl req -x509` makes it: an authority
/// in a server's place.
pub fn self_signed(name: &str) -> Certificate {
    let (key, pkcs8) = key_pair();
    let constraints = extension(BASIC_CONSTRAINTS, &sequence(&[&tagged(0x01, &[0xff])]));
    let names = sequence(&[&tagged(0x82, b"localhost"), &tagged(0x87, &[127, 0, 0, 1])]);
    let cert = certificate((name, &key), name, &key, &[constraints, extension(ALTERNATIVE_NAMES, &names)]);
    Certificate { cert: pem("CERTIFICATE", &cert), key: pem("PRIVATE KEY", &pkcs8) }
}

fn key_pair() -> (EcdsaKeyPair, Vec<u8>) {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("the system gives random bytes");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8.as_ref(), &random).expect("it was just made");
    (pair, pkcs8.as_ref().to_vec())
}

fn certificate((issuer, signer): (&str, &EcdsaKeyPair), subject: &str, key: &EcdsaKeyPair, extensions: &[Vec<u8>]) -> Vec<u8> {
    let name = |text: &str| sequence(&[&tagged(0x31, &sequence(&[COMMON_NAME, &tagged(0x0c, text.as_bytes())]))]);
    let algorithm = sequence(&[ECDSA_SHA256]);
    let validity = sequence(&[&tagged(0x17, b"200101000000Z"), &tagged(0x17, b"491231235959Z")]);
    let public = [&[0], key.public_key().as_ref()].concat();
    let subject_key = sequence(&[&sequence(&[P256_KEY]), &tagged(0x03, &public)]);
    // The serial number: any positive one, here from the key.
    let serial = [&[0x01], &key.public_key().as_ref()[1..9]].concat();
    let extensions: Vec<&[u8]> = extensions.iter().map(Vec::as_slice).collect();
    let body = sequence(&[
        &tagged(0xa0, &tagged(0x02, &[2])),
        &tagged(0x02, &serial),
        &algorithm,
        &name(issuer),
        &validity,
        &name(subject),
        &subject_key,
        &tagged(0xa3, &sequence(&extensions)),
    ]);
    let signature = signer.sign(&SystemRandom::new(), &body).expect("the system gives random bytes");
    sequence(&[&body, &algorithm, &tagged(0x03, &[&[0], signature.as_ref()].concat())])
}

fn extension(id: &[u8], value: &[u8]) -> Vec<u8> {
    sequence(&[id, &tagged(0x04, value)])
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x30, &parts.concat())
}

fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).expect("certificates are small");
    let [high, low] = len.to_be_bytes();
    let head = match len {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head.as_slice(), content].concat()
}

fn pem(label: &str, bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for (place, chunk) in bytes.chunks(3).enumerate() {
        let word = chunk.iter().fold(0u32, |word, byte| word << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let shown = (word >> (18 - 6 * digit)) & 63;
            text.push(if digit <= chunk.len() { char::from(ALPHABET[shown as usize]) } else { '=' });
        }
        if place % 16 == 15 {
            text.push('\n');
        }
    }
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", text.trim_end())
}
