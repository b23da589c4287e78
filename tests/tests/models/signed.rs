//! Models where only those of trusted people may score.

use super::house::{House, geophone};
use base64::{Engine, engine::general_purpose::STANDARD};
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json;
use std::{fs, path::Path, process::Command};

/// Signs as minisign did at first: the file itself, not its hash.
struct Signer(Ed25519KeyPair);

const KEY_ID: &[u8] = b"geophone";

impl Signer {
    fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("32 bytes are a seed"))
    }

    fn key(&self) -> String {
        STANDARD.encode([b"Ed", KEY_ID, self.0.public_key().as_ref()].concat())
    }

    fn sign(&self, folder: &str) {
        let card = fs::read(Path::new(folder).join("card.toml")).expect("every model has it");
        let signature = self.0.sign(&card);
        let comment = "a test's";
        let whole = self.0.sign(&[signature.as_ref(), comment.as_bytes()].concat());
        let text = format!(
            "untrusted comment: x\n{}\ntrusted comment: {comment}\n{}\n",
            STANDARD.encode([b"Ed", KEY_ID, signature.as_ref()].concat()),
            STANDARD.encode(whole)
        );
        fs::write(Path::new(folder).join(geophone_models::SIGNATURE_FILE), text).expect("written");
    }
}

fn check(folder: &str, key: &str) -> bool {
    let output = Command::new(geophone_tests::server::binary()).args(["models", "check", folder, "--trusted-key", key]).output();
    output.expect("the binary starts").status.success()
}

/// Scenario: a server that trusts one key is given models unsigned, signed by somebody else, changed after they were
/// signed, and as they were signed; the last is promoted, and its card is changed on the server's disk.
/// Guarantees: only the last is let in, by file and by base64, and it scores; changed on disk it is not loaded again
/// until it is added as it was signed; what is refused says why in one sentence.
#[test]
fn only_models_of_trusted_people_score() {
    let (ours, theirs) = (Signer::new(1), Signer::new(2));
    let house = House::new();
    let config = house.write("trusting.yaml", &format!("models: {{trusted_keys: [\"{}\"]}}\n", ours.key()));
    let server = house.start_with(&["--config", &config]);
    let [unsigned, foreign, changed, sound] = ["unsigned", "foreign", "changed", "sound"].map(|name| house.twin(name, "1"));
    theirs.sign(&foreign);
    ours.sign(&sound);
    ours.sign(&changed);
    let card = Path::new(&changed).join("card.toml");
    let text = fs::read_to_string(&card).expect("it was written");
    fs::write(&card, text.replacen("description = \"", "description = \"better ", 1)).expect("written");

    for (folder, why) in [(&unsigned, "card.toml.minisig"), (&foreign, "none of the trusted keys"), (&changed, "changed after it")] {
        let refused = geophone(&server, &["models", "add", folder]).expect_err(why);
        assert!(refused.contains(why) && refused.contains("minisign -Sm card.toml") && refused.trim().lines().count() == 1, "{refused}");
        assert!(!check(folder, &ours.key()));
    }
    assert!(check(&sound, &ours.key()) && !check(&sound, &theirs.key()));
    assert_eq!(geophone(&server, &["models", "add", &sound]).expect("it is signed")["state"], "available");

    let second = house.twin("sound", "2");
    ours.sign(&second);
    let base64 = |name: &str| STANDARD.encode(fs::read(Path::new(&second).join(name)).expect("it was written"));
    let names = ["card.toml", "model.onnx", "check.parquet", geophone_models::SIGNATURE_FILE];
    let body: serde_json::Map<String, serde_json::Value> = names.into_iter().map(|name| (name.to_owned(), json!(base64(name)))).collect();
    let added = house.post(&server, "/api/v1/models/sound/versions", &json!(body).to_string());
    assert_eq!(added["state"], "available", "{added}");

    assert_eq!(geophone(&server, &["models", "promote", "sound@1"]).expect("it is there")["state"], "active");
    let kept = house.kept("sound", "2").join("card.toml");
    let text = fs::read_to_string(&kept).expect("it was kept");
    fs::write(&kept, text.replacen("description = \"", "description = \"other ", 1)).expect("written");
    let refused = geophone(&server, &["models", "promote", "sound@2"]).expect_err("its card is another");
    assert!(refused.contains("changed after it"), "{refused}");
    fs::write(&kept, text).expect("written");
    geophone(&server, &["models", "promote", "sound@2"]).expect("as it was signed");
}

/// Scenario: a model is active, the service is killed, and starts with a key that did not sign it; then the model is
/// added once more unsigned, and signed.
/// Guarantees: the service starts and the shipped model scores; unsigned it is refused, signed it is let in under the
/// name and version that it had.
#[test]
fn a_model_that_was_here_before_keys_were_can_be_signed() {
    let ours = Signer::new(1);
    let house = House::new();
    let folder = house.twin("early", "1");
    let server = house.start();
    geophone(&server, &["models", "add", &folder]).expect("nobody asks for a signature");
    geophone(&server, &["models", "promote", "early@1"]).expect("it is there");
    server.kill();
    let config = house.write("trusting.yaml", &format!("models: {{trusted_keys: [\"{}\"]}}\n", ours.key()));
    let server = house.start_with(&["--config", &config]);
    let active = &server.get("/api/v1/models")["items"];
    let is_active = |name: &str| active.as_array().expect("a list").iter().any(|item| item["name"] == name && item["state"] == "active");
    assert!(is_active("default") && !is_active("early"), "{active}");
    for step in ["promote", "add"] {
        let refused = geophone(&server, &["models", step, if step == "add" { &folder } else { "early@1" }]).expect_err("unsigned");
        assert!(refused.contains("card.toml.minisig"), "{refused}");
    }
    ours.sign(&folder);
    geophone(&server, &["models", "add", &folder]).expect("it is signed");
    assert_eq!(geophone(&server, &["models", "promote", "early@1"]).expect("it is signed")["state"], "active");
}
