//! The OpenTelemetry SDK for Python against us.

use geophone_tests::{place, server::Server};
use std::process::Command;

/// Scenario: a Python program with the public SDK sends 30 spans, 3 points and 20 log records by each transport.
/// Guarantees: the SDK reports no export failure and every item is a row with the service's name.
#[test]
fn spans_points_and_logs_over_both_transports() {
    let Some(python) = place::peer("python/bin/python") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let server = Server::start(folder.path(), &[]);
    let script = place::repository().join("tests/peers/send.py");
    let run = Command::new(python).arg(script).args([&server.grpc, &server.otlp_http]).output().expect("python starts");
    let said = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success() && !said.contains("Failed to export"), "{said}");
    for service in ["python-grpc", "python-http"] {
        let count = |table: &str| server.count(&format!("SELECT COUNT(*) FROM {table} WHERE service = '{service}'"));
        assert_eq!((count("spans"), count("logs")), (30, 20), "{service}");
        assert!(count("metric_points") >= 3, "{service}");
    }
}
