//! Profiles from outside: both transports, both encodings, both forms; then SQL and Parquet.

use super::*;
use geophone_client::{ExportRequest, json::to_json};
use geophone_proto::otlp::{
    collector::profiles::v1development::{ExportProfilesServiceRequest, ExportProfilesServiceResponse},
    profiles::v1development::{
        Function, Line, Link, Location, Profile, ProfilesDictionary, ResourceProfiles, Sample, ScopeProfiles, Stack, ValueType,
    },
};
use std::path::Path;

const PROFILES: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
const PATH: &str = "/v1development/profiles";

fn profiles(service: &str) -> ExportProfilesServiceRequest {
    let location = |function| Location { lines: vec![Line { function_index: function, ..Line::default() }], ..Location::default() };
    let dictionary = ProfilesDictionary {
        string_table: ["", "cpu", "nanoseconds", "main", "charge"].map(str::to_owned).to_vec(),
        mapping_table: vec![Default::default()],
        function_table: [0, 3, 4].map(|name| Function { name_strindex: name, ..Function::default() }).to_vec(),
        location_table: vec![Location::default(), location(1), location(2)],
        stack_table: vec![Stack::default(), Stack { location_indices: vec![2, 1] }],
        link_table: vec![Link::default(), Link { trace_id: vec![0xab; 16], span_id: vec![0xcd; 8] }],
        attribute_table: vec![Default::default()],
    };
    let sample = |value| Sample { stack_index: 1, link_index: 1, values: vec![value], ..Sample::default() };
    let profile = Profile {
        sample_type: Some(ValueType { type_strindex: 1, unit_strindex: 2 }),
        samples: vec![sample(30), sample(12)],
        time_unix_nano: NOW_NS,
        duration_nano: 1_000_000_000,
        ..Profile::default()
    };
    let scope_profiles = vec![ScopeProfiles { profiles: vec![profile], ..ScopeProfiles::default() }];
    let resource_profiles =
        vec![ResourceProfiles { resource: Some(load::service(service)), scope_profiles, ..ResourceProfiles::default() }];
    ExportProfilesServiceRequest { resource_profiles, dictionary: Some(dictionary) }
}

/// The same with samples numbered as 1.9 did: link 3 -> 4, values 4 -> 2. Both keys are one byte, so lengths hold.
fn old(mut wire: Vec<u8>) -> Vec<u8> {
    for value in [30, 12] {
        // stack 1, link 1, values [value].
        let new = [0x08, 1, 0x18, 1, 0x22, 1, value];
        let at = wire.windows(new.len()).position(|window| window == new).expect("the sample is there");
        wire[at..at + new.len()].copy_from_slice(&[0x08, 1, 0x12, 1, value, 0x20, 1]);
    }
    wire
}

fn parquet_files(folder: &Path) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        let shown = path.display().to_string();
        if path.is_dir() { parquet_files(&path) } else { shown.contains("profiles") && shown.ends_with(".parquet") }
    })
}

/// Scenario: profiles over gRPC, HTTP and as JSON, one of them in the form of 1.9, and rubbish.
/// Guarantees: every sample is a row of `profiles` with its folded stack and its span, before and after it became
/// Parquet; the old form is taken with a warning and no rejected profile; rubbish is refused as bad data.
#[test]
fn profiles_are_taken_in_every_form_and_queryable() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = folder.path().join("geophone.yaml");
    std::fs::write(&config, "log: {segment_age: 1s}\n").expect("written");
    let data = folder.path().join("data");
    let server = Server::start(&data, &["--config", config.to_str().expect("a plain path")]);
    let http = server.otlp_http.as_str();
    assert_eq!(grpc(&server.grpc, PROFILES, &[], frame(&profiles("grpc").encode_to_vec())), (0, false));
    assert_eq!(post(http, PATH, &[PROTOBUF], &profiles("http").encode_to_vec()).status, 200);
    let text = to_json(&ExportRequest::Profiles(profiles("json"))).to_string();
    let answer = post(http, PATH, &[JSON], text.as_bytes());
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"{}".as_slice()));
    let answer = post(http, PATH, &[PROTOBUF], &old(profiles("old").encode_to_vec()));
    let partial = ExportProfilesServiceResponse::decode(&*answer.body).expect("a response").partial_success.expect("a warning");
    assert!(answer.status == 200 && partial.rejected_profiles == 0 && partial.error_message.contains("1.9"), "{partial:?}");
    assert_eq!(post(http, PATH, &[PROTOBUF], &[0xff; 50]).status, 400);
    let check = || {
        let sql = "SELECT service, sample_type, unit, stack, trace_id, span_id, tenant, SUM(value) AS total, COUNT(*) AS n FROM profiles \
                   GROUP BY service, sample_type, unit, stack, trace_id, span_id, tenant ORDER BY service";
        let wanted = ["grpc", "http", "json", "old"]
            .map(|service| json!([service, "cpu", "nanoseconds", "main;charge", "ab".repeat(16), "cd".repeat(8), "default", 42, 2]));
        assert_eq!(json!(server.query(sql)), json!(wanted));
    };
    check();
    eventually("profiles become Parquet", || parquet_files(&data).then_some(()));
    check();
    books_balance(&server);
    assert_eq!(server.stop(), Some(0));
}
