//! Certificates, tokens and tenants on the real binary, and certificates that change while it runs.

mod client;

use client::{Client, Identity};
use geophone_ingest::{Tls, TlsFiles, TlsVersion};
use geophone_tests::{
    certificate::{Authority, Certificate, self_signed},
    load,
    server::{Server, binary, eventually},
};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};
use tokio::net::TcpListener;

const NOW_NS: u64 = 1_760_000_000_000_000_000;

fn write(folder: &Path, certificate: &Certificate) -> (PathBuf, PathBuf) {
    let (cert, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&cert, &certificate.cert).expect("written");
    std::fs::write(&key, &certificate.key).expect("written");
    (cert, key)
}

/// `geophone token`: the token and its rule.
fn token(name: &str, tenant: &str, may: &[&str]) -> (String, Value) {
    let mut command = Command::new(binary());
    command.args(["token", "--output", "json", "--name", name, "--tenant", tenant]);
    may.iter().for_each(|right| {
        command.args(["--may", right]);
    });
    let output = command.output().expect("the binary can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let made: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    (made["token"].as_str().expect("a token").to_owned(), made["rule"].clone())
}

/// One handshake of a client that trusts `authority` with a server on these certificates.
async fn shakes_hands(tls: &Arc<Tls>, authority: &Authority, identity: Option<&Certificate>) -> bool {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    let tls = Arc::clone(tls);
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client comes");
        tls.secure(stream).await.is_ok()
    });
    let client = client::connect(&address, &authority.cert, identity.map(Identity::of)).await;
    client.is_ok() && server.await.expect("no panic")
}

/// Scenario: certificates are replaced while the server runs: by new ones, by rubbish, by a key that does not fit.
/// Guarantees: new ones are in force at once and without a restart; what cannot be used leaves the old in force.
#[tokio::test]
async fn certificates_change_without_a_restart_and_broken_ones_do_not_count() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [old, new] = ["old", "new"].map(Authority::new);
    let (cert, key) = write(folder.path(), &old.issue("geophone"));
    let files = TlsFiles { cert: cert.clone(), key: key.clone(), client_ca: None, min_version: TlsVersion::V12 };
    let tls = Arc::new(Tls::load(files).await.expect("they fit"));
    assert!(shakes_hands(&tls, &old, None).await && !shakes_hands(&tls, &new, None).await);
    assert!(!tls.look().await, "nothing has changed");
    std::fs::write(&cert, "rubbish").expect("written");
    assert!(!tls.look().await && shakes_hands(&tls, &old, None).await);
    write(folder.path(), &Certificate { cert: new.issue("a").cert, key: new.issue("b").key });
    assert!(!tls.look().await && shakes_hands(&tls, &old, None).await, "a key that does not fit");
    std::fs::remove_file(&cert).expect("it was there");
    assert!(!tls.look().await && shakes_hands(&tls, &old, None).await);
    write(folder.path(), &new.issue("geophone"));
    assert!(tls.look().await, "now they fit");
    assert!(shakes_hands(&tls, &new, None).await && !shakes_hands(&tls, &old, None).await);
}

/// Scenario: clients with a certificate of our authority, of another, and without any.
/// Guarantees: mTLS lets in the first only.
#[tokio::test]
async fn clients_must_have_a_certificate_of_our_authority() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [ours, theirs] = ["ours", "theirs"].map(Authority::new);
    let (cert, key) = write(folder.path(), &ours.issue("geophone"));
    let client_ca = folder.path().join("ca.pem");
    std::fs::write(&client_ca, &ours.cert).expect("written");
    let tls = Tls::load(TlsFiles { cert, key, client_ca: Some(client_ca), min_version: TlsVersion::V13 }).await;
    let tls = Arc::new(tls.expect("they fit"));
    assert!(shakes_hands(&tls, &ours, Some(&ours.issue("sender"))).await);
    assert!(!shakes_hands(&tls, &ours, Some(&theirs.issue("sender"))).await);
    assert!(!shakes_hands(&tls, &ours, None).await);
}

/// Scenario: the real binary with certificates on every door and tokens of two tenants and a reader.
/// Guarantees: nothing without a token but the health checks; rows carry the token's tenant; counters too; no
/// secret on stderr, in the page's API or in what `validate` prints; a token that is taken out of the file is refused soon.
#[test]
fn the_real_binary_asks_who_sends_and_who_reads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let authority = Authority::new("test");
    let (cert, key) = write(folder.path(), &authority.issue("geophone"));
    let [shop, bank, reader] = [("shop", "shop", "send"), ("bank", "bank", "send"), ("reader", "default", "read")]
        .map(|(name, tenant, may)| token(name, tenant, &[may]));
    let tls = json!({"cert_file": cert, "key_file": key});
    let config = |tokens: &[&Value]| {
        let door = json!({"tls": tls});
        json!({"receivers": {"otlp": {"protocols": {"grpc": door, "http": door}}}, "api": {"tls": tls}, "access": {"tokens": tokens}})
            .to_string()
    };
    let path = folder.path().join("geophone.yaml");
    std::fs::write(&path, config(&[&shop.1, &bank.1, &reader.1])).expect("written");
    let shown = path.to_str().expect("a plain path");
    let server = Server::start(&folder.path().join("data"), &["--config", shown]);
    let client = Client::new(&authority.cert);

    let spans = |service: &str| load::traces(service, 1, 3, NOW_NS);
    assert_eq!(client.export(&server.otlp_http, None, spans("none")), 401);
    assert_eq!(client.export(&server.otlp_http, Some("Bearer gph_wrong_wrong_wrong_wrong"), spans("none")), 401);
    assert_eq!(client.export(&server.otlp_http, Some(&format!("Bearer {}", reader.0)), spans("none")), 403);
    for (token, service) in [(&shop.0, "cart"), (&bank.0, "ledger")] {
        assert_eq!(client.export(&server.otlp_http, Some(&format!("Bearer {token}")), spans(service)), 200, "{service}");
    }
    assert_eq!(client.call(&server.grpc, None, spans("none")), 16);
    assert_eq!(client.call(&server.grpc, Some(&format!("Bearer {}", bank.0)), spans("ledger")), 0);

    assert_eq!(client.get(&server.http, "/livez", None).0, 200);
    assert_eq!(client.get(&server.http, "/", None).0, 401);
    assert_eq!(client.get(&server.http, "/metrics", Some(&format!("Bearer {}", shop.0))).0, 403);
    let read = format!("Bearer {}", reader.0);
    let (status, metrics) = client.get(&server.http, "/metrics", Some(&read));
    assert_eq!(status, 200);
    let acked = |line: &&str| line.starts_with("geophone_acked_items_total") && line.contains("tenant=\"bank\"");
    let acked: f64 = metrics.lines().filter(acked).filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum();
    assert_eq!(acked, 6.0);
    let answer =
        client.query(&server.http, &read, "SELECT tenant, service, COUNT(*) AS n FROM spans GROUP BY tenant, service ORDER BY tenant");
    assert_eq!(answer["rows"], json!([["bank", "ledger", 6], ["shop", "cart", 3]]));

    let validated = Command::new(binary()).args(["validate", shown]).output().expect("the binary can be started");
    assert!(validated.status.success());
    let hash = shop.1["hash"].as_str().expect("a hash");
    let said =
        [metrics, String::from_utf8_lossy(&validated.stdout).into_owned(), client.get(&server.http, "/api/v1/status", Some(&read)).1];
    assert!(said.iter().all(|text| !text.contains(hash) && !text.contains(&shop.0)));

    std::fs::write(&path, config(&[&bank.1, &reader.1])).expect("written");
    eventually("the token is no longer known", || {
        (client.export(&server.otlp_http, Some(&format!("Bearer {}", shop.0)), spans("cart")) == 401).then_some(())
    });
    assert_eq!(client.export(&server.otlp_http, Some(&format!("Bearer {}", bank.0)), spans("ledger")), 200);
    assert_eq!(server.stop(), Some(0));
}

/// Scenario: an address that other machines reach, with nothing, with certificates, with a token, with a clear word.
/// Guarantees: the first is refused with what to do, exit 2; the others are fine.
#[test]
fn strangers_are_kept_out_unless_somebody_says_so() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let validate = |config: Value| {
        let path = folder.path().join("geophone.yaml");
        std::fs::write(&path, config.to_string()).expect("written");
        let output = Command::new(binary()).arg("validate").arg(&path).arg("--syntax-only").output().expect("the binary can be started");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let open = |more: Value| {
        let mut config = json!({"api": {"endpoint": "0.0.0.0:0"}});
        config.as_object_mut().zip(more.as_object().cloned()).into_iter().for_each(|(config, more)| config.extend(more));
        config
    };
    let (code, message) = validate(open(json!({})));
    assert_eq!(code, Some(1));
    assert!(["api.endpoint", "tls", "access.tokens", "allow_unauthenticated_bind"].iter().all(|word| message.contains(word)), "{message}");
    let serve = Command::new(binary()).args(["serve", "--http-endpoint", "0.0.0.0:0"]).arg("--data-dir").arg(folder.path()).output();
    assert_eq!(serve.expect("the binary can be started").status.code(), Some(2));
    let (_, sender) = token("s", "default", &["send"]);
    let (_, reader) = token("r", "default", &["read"]);
    assert_eq!(validate(open(json!({"access": {"tokens": [sender]}}))).0, Some(1), "a sender's token does not guard the page");
    assert_eq!(validate(open(json!({"access": {"tokens": [reader]}}))).0, Some(0));
    assert_eq!(validate(open(json!({"allow_unauthenticated_bind": true}))).0, Some(0));
    let tls = json!({"endpoint": "0.0.0.0:0", "tls": {"cert_file": "c.pem", "key_file": "k.pem"}});
    assert_eq!(validate(json!({ "api": tls })).0, Some(0));
    assert_eq!(validate(json!({"api": {"tls": {"cert_file": "c.pem"}}})).0, Some(1));
}

/// Scenario: our own senders, `gen` and `check otlp`, at doors with certificates and a token; with the right
/// authority and token, without a token, without the authority.
/// Guarantees: the first is taken and keeps every rule; the others are told what is missing.
#[test]
fn our_own_senders_speak_tls_and_show_tokens() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let authority = Authority::new("test");
    let (cert, key) = write(folder.path(), &authority.issue("geophone"));
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, &authority.cert).expect("written");
    let (secret, rule) = token("gen", "shop", &["send"]);
    let door = json!({"tls": {"cert_file": cert, "key_file": key}});
    // The largest request goes over the line several times, and ciphers are slow without optimisation.
    let otlp = json!({"max_request_size": "1MiB", "protocols": {"grpc": door, "http": door}});
    let config = json!({"receivers": {"otlp": otlp}, "access": {"tokens": [rule]}});
    let path = folder.path().join("geophone.yaml");
    std::fs::write(&path, config.to_string()).expect("written");
    let server = Server::start(&folder.path().join("data"), &["--config", path.to_str().expect("a plain path")]);
    let run = |arguments: &[&str], with: &[&str]| {
        let output = Command::new(binary()).args(arguments).args(with).args(["--output", "json"]).output();
        let output = output.expect("the binary can be started");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), answer, String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (header, ca) = (format!("authorization=Bearer {secret}"), ca.to_str().expect("a plain path"));
    for (protocol, address) in [("grpc", &server.grpc), ("http", &server.otlp_http)] {
        let endpoint = format!("https://{}", address.replace("127.0.0.1", "localhost"));
        let sender = ["gen", "--endpoint", &endpoint, "--protocol", protocol, "--requests", "3", "--items-per-request", "10"];
        let (code, report, said) = run(&sender, &["--ca-file", ca, "--header", &header]);
        assert_eq!((code, &report["acked_items"]), (Some(0), &json!(30)), "{protocol}: {said}");
        let (_, report, said) = run(&sender, &["--ca-file", ca]);
        assert_eq!(report["refused_items"], 30, "{protocol}: no token: {said}");
        let (code, _, said) = run(&sender, &["--header", &header]);
        assert!(code == Some(1) && said.to_lowercase().contains("certificate"), "{protocol}: a stranger's certificate: {said}");
    }
    let [grpc, http] = [&server.grpc, &server.otlp_http].map(|address| format!("https://{address}"));
    let (code, findings, said) =
        run(&["check", "otlp", "--limit", "1MiB", "--grpc", &grpc, "--http", &http], &["--ca-file", ca, "--header", &header]);
    assert_eq!(code, Some(0), "{said}");
    assert!(findings.as_array().is_some_and(|findings| findings.iter().any(|finding| finding["outcome"] == "pass")));
    assert_eq!(server.stop(), Some(0));
}

/// Scenario: doors with a certificate that vouches for itself, as people make it by hand; our own commands are
/// given this certificate, and another one like it.
/// Guarantees: the first is believed for the names it is for, the second is not.
#[test]
fn a_certificate_that_vouches_for_itself_can_be_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (cert, key) = write(folder.path(), &self_signed("geophone"));
    let other = folder.path().join("other.pem");
    std::fs::write(&other, self_signed("geophone").cert).expect("written");
    let door = json!({"tls": {"cert_file": cert, "key_file": key}});
    let config = json!({"receivers": {"otlp": {"protocols": {"grpc": door}}}, "api": door});
    let path = folder.path().join("geophone.yaml");
    std::fs::write(&path, config.to_string()).expect("written");
    let server = Server::start(&folder.path().join("data"), &["--config", path.to_str().expect("a plain path")]);
    let code = |arguments: &[&str], ca: &Path| {
        let output = Command::new(binary()).args(arguments).arg("--ca-file").arg(ca).output().expect("the binary can be started");
        output.status.code()
    };
    let (otlp, api) = (format!("https://{}", server.grpc), format!("https://{}", server.http));
    let gen_one = ["gen", "--endpoint", &otlp, "--requests", "1"];
    let list = ["incidents", "list", "--endpoint", &api];
    assert_eq!((code(&gen_one, &cert), code(&list, &cert)), (Some(0), Some(0)));
    assert_eq!((code(&gen_one, &other), code(&list, &other)), (Some(1), Some(1)));
    assert_eq!(server.stop(), Some(0));
}

/// Scenario: one tenant sends as fast as it is answered over eight connections, far above its budget, while
/// another sends little.
/// Guarantees: all of the quiet one's requests are taken at once; the noisy one is told to wait, gets about its
/// budget, and both ledgers add up.
#[test]
fn a_noisy_tenant_does_not_hinder_another() {
    const BUDGET: u64 = 200;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let tenant = json!({"name": "noisy", "items_per_second": BUDGET});
    let config = json!({"access": {"tenant_header": "x-tenant", "tenants": [tenant]}});
    let path = folder.path().join("geophone.yaml");
    std::fs::write(&path, config.to_string()).expect("written");
    let server = Server::start(&folder.path().join("data"), &["--config", path.to_str().expect("a plain path")]);
    let send = |tenant: &str, more: &[&str]| {
        let header = format!("x-tenant={tenant}");
        let mut command = Command::new(binary());
        command.args(["gen", "--endpoint", &server.grpc, "--items-per-request", "20", "--output", "json", "--header", &header]);
        command.args(more).stdout(std::process::Stdio::piped()).spawn().expect("the binary can be started")
    };
    let report = |child: std::process::Child| -> Value {
        let output = child.wait_with_output().expect("it ends");
        serde_json::from_slice(&output.stdout).expect("a report")
    };
    let noisy = send("noisy", &["--duration", "6s", "--connections", "8"]);
    let quiet = report(send("quiet", &["--duration", "5s", "--rate", "20", "--connections", "1"]));
    let noisy = report(noisy);
    let count = |report: &Value, name: &str| report[name].as_u64().expect("a number");
    assert!(count(&quiet, "items") > 1000 && count(&quiet, "refused_items") == 0, "{quiet}");
    assert!(count(&noisy, "refused_items") > 10 * count(&noisy, "acked_items"), "{noisy}");
    // A second's worth may be saved up, and the run has an end that is not sharp.
    assert!(count(&noisy, "acked_items") <= BUDGET * 10, "{noisy}");
    let p99 = quiet["latency_ms"]["p99"].as_f64().expect("a number");
    eprintln!("quiet beside a flood of {} refused items: p99 {p99} ms", count(&noisy, "refused_items"));
    let metrics = server.text("/metrics");
    let of = |name: &str, tenant: &str| -> f64 {
        let label = format!("tenant=\"{tenant}\"");
        metrics
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(&label))
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    };
    for tenant in ["quiet", "noisy"] {
        let [received, acked, refused] =
            ["geophone_received_items_total", "geophone_acked_items_total", "geophone_refused_items_total"].map(|name| of(name, tenant));
        assert_eq!(received, acked + refused, "{tenant}");
    }
    assert_eq!(server.stop(), Some(0));
}
