//! Scenario: `check otlp` against our own server, and against servers with one fault each.
//! Guarantees: our server passes every rule, overload included; each fault fails exactly the rules that it
//! breaks, on the transports on which it breaks them.

mod document;
mod faults;
mod proxy;

use faults::{CASES, Case};
use geophone_client::conformance::{Finding, Outcome, Target, check};
use geophone_proto::UnixNanos;
use proxy::{LIMIT, Own, faulty};
use std::net::SocketAddr;

fn target(grpc: SocketAddr, http: SocketAddr) -> Target {
    let target = Target::new(UnixNanos(1_767_225_600_000_000_000));
    let target = target.with_grpc(&grpc.to_string()).and_then(|target| target.with_http(&format!("http://{http}")));
    Target { request_bytes_max: LIMIT, requests_at_once: 24, ..target.expect("addresses") }
}

fn broken(findings: &[Finding]) -> Vec<(String, String, String)> {
    let failed = findings.iter().filter(|finding| finding.outcome == Outcome::Fail);
    failed.map(|finding| (finding.rule.to_owned(), finding.transport.to_owned(), finding.detail.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_server_keeps_every_rule() {
    let own = Own::start(2 << 20).await;
    let findings = check(Target { overload_bytes: 8 << 20, ..target(own.grpc(), own.http()) }).await.expect("it answers");
    assert_eq!(broken(&findings), []);
    let skipped = findings.iter().filter(|finding| finding.outcome == Outcome::Skipped).map(|finding| finding.rule);
    let skipped: Vec<&str> = skipped.filter(|rule| *rule != "OTLP-02").collect();
    assert_eq!(skipped, Vec::<&str>::new(), "only the default port may not show");
    let only_http = Target { grpc: None, ..target(own.grpc(), own.http()) };
    let findings = check(only_http).await.expect("it answers");
    assert!(findings.iter().all(|finding| (finding.outcome == Outcome::Skipped) || finding.transport == "http"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_fails_exactly_the_rules_that_it_breaks() {
    let mut runs = tokio::task::JoinSet::new();
    for Case { name, breaks, fault } in CASES {
        runs.spawn(async move {
            let address = faulty(*fault).await;
            let findings = check(target(address, address)).await.expect("it answers");
            let found = broken(&findings);
            let rules: Vec<(&str, &str)> = found.iter().map(|(rule, transport, _)| (rule.as_str(), transport.as_str())).collect();
            let details: Vec<&str> = found.iter().map(|(_, _, detail)| detail.as_str()).collect();
            (rules != *breaks).then(|| format!("{name}: expected {breaks:?}, got {rules:?}\n    {}", details.join("\n    ")))
        });
    }
    let wrong: Vec<String> = runs.join_all().await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Scenario: the list of rules and the list of faults.
/// Guarantees: no rule that a fault can break is without one.
#[tokio::test]
async fn every_rule_has_a_fault() {
    let own = Own::start(2 << 20).await;
    let findings = check(target(own.grpc(), own.http())).await.expect("it answers");
    // A server has no default port here: ports are the system's choice.
    let bare: Vec<_> = findings
        .iter()
        .filter(|finding| finding.rule != "OTLP-02")
        .filter(|finding| !CASES.iter().any(|case| case.breaks.contains(&(finding.rule, finding.transport))))
        .map(|finding| (finding.rule, finding.transport))
        .collect();
    assert_eq!(bare, [], "rules without a seeded fault");
}
