//! The store's promises: every acked row is seen once, whatever is sealed, merged, dropped or killed.

use crate::{
    Durability, Log, LogOptions, Rows, Store, StoreError, StoreOptions,
    fixture::{Fuse, NOON, SECOND, TestClock, bare_span, log_options, logs, odd_spans, points, spans, store_options},
};
use geophone_proto::{
    Class, Effect, Record, Seq, Series, SeriesKind, Tenant, UnixNanos,
    anomaly::State,
    effect::{Part, ScoredWindow},
    feature::FeatureFrame,
    incident::{Incident, Severity},
    model::{ModelRef, Role},
};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

const HOUR: u64 = 3600 * SECOND;

struct House {
    dir: tempfile::TempDir,
    clock: Arc<TestClock>,
    fuse: Arc<Fuse>,
    log: LogOptions,
    options: StoreOptions,
}

impl House {
    fn new() -> Self {
        let fuse = Arc::new(Fuse::default());
        let options = StoreOptions { failpoint: Some(fuse.failpoint()), ..store_options() };
        let dir = tempfile::tempdir().expect("a temporary folder can be made");
        Self { dir, clock: TestClock::new(), fuse, log: log_options(), options }
    }

    fn open(&self) -> (Arc<Log>, Arc<Store>) {
        let (log, _) = Log::open(Some(self.dir.path()), self.log.clone(), self.clock.clone()).expect("the directory is ours");
        let store = Store::open(self.dir.path(), self.options.clone(), log.clone()).expect("the directory is ours");
        (log, store)
    }

    fn beside(&self) -> Arc<Store> {
        Store::open_read_only(self.dir.path(), self.options.clone(), self.clock.clone()).expect("it can be read")
    }
}

fn rows(store: &Arc<Store>, sql: &str) -> Rows {
    store.query(sql).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn count(store: &Arc<Store>, table: &str) -> u64 {
    rows(store, &format!("SELECT count(*) AS n FROM {table}")).rows[0][0].as_u64().expect("a count is a number")
}

fn parquet_files(dir: &Path) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| if entry.path().is_dir() { parquet_files(&entry.path()) } else { 1 }).sum()
}

fn window(at: u64, series: &[&Series], score: f32) -> Effect {
    let n = series.len();
    let features =
        FeatureFrame { at: UnixNanos(at), width: 2, keys: series.iter().map(|series| series.key).collect(), x: vec![0.5; 2 * n] };
    Effect::Window(Arc::new(ScoredWindow {
        features,
        window_ns: 10 * SECOND,
        model: ModelRef { name: "default".into(), version: "1".into(), sha256: String::new() },
        raw: vec![score; n],
        score: vec![score; n],
        actual: vec![1.0; n],
        expected: vec![f64::NAN; n],
        lower: vec![0.0; n],
        upper: vec![2.0; n],
        maturity: vec![geophone_proto::anomaly::Maturity::Calibrated; n],
        parts: Vec::new(),
    }))
}

fn series(service: &str) -> Series {
    Series::new(Tenant::default(), service, "GET /", SeriesKind::RequestRate, BTreeMap::new())
}

fn incident(id: &str, state: State) -> Incident {
    Incident {
        id: id.into(),
        tenant: Tenant::default(),
        state,
        started_at: UnixNanos(NOON),
        opened_at: UnixNanos(NOON),
        closed_at: None,
        severity: Severity::Critical,
        title: "payment is slow".into(),
        verdict: String::new(),
        suspects: Vec::new(),
        anomalies: vec!["a".into()],
        actions: Vec::new(),
        services: Vec::new(),
        attributes: Vec::new(),
        maturity: geophone_proto::anomaly::Maturity::Provisional,
        timeline: Vec::new(),
    }
}

/// Scenario: an empty directory.
/// Guarantees: every table exists with its columns and no rows.
#[test]
fn an_empty_directory_answers() {
    let house = House::new();
    let (_log, store) = house.open();
    for table in rows(&store, "SHOW TABLES").rows {
        let table = table[0].as_str().expect("a name").to_owned();
        assert_eq!(count(&store, &table), 0, "{table}");
        let all = rows(&store, &format!("SELECT * FROM {table}"));
        assert_eq!(all.rows.len(), 0);
        assert_eq!(all.columns.len(), rows(&store, &format!("DESCRIBE {table}")).rows.len());
    }
    assert_eq!(rows(&store, "SELECT 1 AS one").rows, [[json!(1)]]);
}

/// Scenario: the same rows are asked for before and after they are sealed.
/// Guarantees: the answers are equal, cell by cell.
#[test]
fn sealing_changes_no_answer() {
    let house = House::new();
    let (log, store) = house.open();
    log.append(vec![spans("cart", &[NOON, NOON + HOUR, 0, u64::MAX]), logs("cart", &[NOON]), points("cart", 3)]).expect("there is room");
    let asked = [
        "SELECT * FROM spans ORDER BY end_ns",
        "SELECT * FROM logs",
        "SELECT * FROM metric_points ORDER BY value",
        "SELECT service, count(*) AS n, max(duration_ns) AS d FROM spans GROUP BY service",
        "SELECT attributes ->> 'n' AS n, attributes->>'none' AS none FROM spans WHERE attributes ->> 'http.route' = '/a' ORDER BY n",
        "WITH s AS (SELECT name FROM spans WHERE kind = 'SERVER') SELECT count(*) AS n FROM s",
        "SELECT a.name, b.body FROM spans a JOIN logs b ON a.service = b.service ORDER BY a.name LIMIT 1",
    ];
    let before: Vec<Rows> = asked.iter().map(|sql| rows(&store, sql)).collect();
    log.roll();
    let report = store.seal().expect("there is room");
    assert_eq!((report.segments, report.rows), (1, 8));
    let after: Vec<Rows> = asked.iter().map(|sql| rows(&store, sql)).collect();
    assert_eq!(before, after);
    let span = &before[0];
    let cell = |name: &str| &span.rows[1][span.columns.iter().position(|column| column == name).expect("it is a column")];
    assert_eq!(cell("trace_id"), &json!("01010101010101010101010101010101"));
    assert_eq!(cell("parent_span_id"), &json!(""));
    assert_eq!(cell("attributes"), &json!({"n": 0, "http.route": "/a"}));
    assert_eq!(cell("resource"), &json!({"service.name": "cart"}));
    assert_eq!((cell("kind"), cell("status"), cell("duration_ns")), (&json!("SERVER"), &json!("ERROR"), &json!(SECOND)));
    assert_eq!(before[2].rows.iter().filter(|row| row[6] == Value::Null).count(), 1, "NaN is null");
    assert_eq!(house.beside().query(asked[0]).expect("it can be read"), before[0]);
}

/// Scenario: spans with odd attributes, in several segments and files, alone and with usual ones; then the files are merged.
/// Guarantees: what is pressed, merged or recent gives the same answers, cell by cell.
#[test]
fn pressing_changes_no_attribute() {
    let house = House::new();
    let (log, store) = house.open();
    let asked = [
        "SELECT * FROM spans ORDER BY service, end_ns, name",
        "SELECT attributes ->> 'a' AS a FROM spans ORDER BY a",
        "SELECT name FROM spans WHERE attributes ->> 'b' = 'x' ORDER BY name, service",
    ];
    log.append(vec![odd_spans("odd")]).expect("there is room");
    log.append((0..12).map(|n| spans(&format!("s{n:02}"), &[NOON + n])).collect()).expect("there is room");
    let before: Vec<Rows> = asked.iter().map(|sql| rows(&store, sql)).collect();
    assert_eq!(before[1].rows.iter().filter(|row| row[0] == json!("2")).count(), 2);
    log.roll();
    let sealed = store.seal().expect("there is room");
    assert_eq!(sealed.rows, 17);
    assert_eq!(asked.iter().map(|sql| rows(&store, sql)).collect::<Vec<_>>(), before);
    // Only what has none, alone in its file; then many files of one size, which are merged.
    log.append(vec![bare_span()]).expect("there is room");
    log.roll();
    store.seal().expect("there is room");
    assert_eq!(rows(&store, "SELECT attributes FROM spans WHERE service = 'bare'").rows, [[json!({})]]);
    let mut merged = 0;
    for n in 0..12 {
        log.append(vec![spans(&format!("t{n:02}"), &[NOON + n])]).expect("there is room");
        log.roll();
        merged += store.seal().expect("there is room").merged;
    }
    assert!(merged > 0);
    assert_eq!(count(&store, "spans"), 30);
    let odd = |all: &Rows| {
        all.rows.iter().filter(|row| row.contains(&json!("odd")) || row.contains(&json!("other"))).cloned().collect::<Vec<_>>()
    };
    assert_eq!(odd(&rows(&store, asked[0])), odd(&before[0]));
}

/// Scenario: many files of a few thousand spans each are merged, and merged again.
/// Guarantees: every row is there once, as it was; read here and by a second process.
#[test]
fn merging_large_row_groups_copies_them() {
    let house = House::new();
    let (log, store) = house.open();
    let asked = "SELECT service, count(*) AS n, sum(end_ns - 1795500000000000000) AS ends, count(DISTINCT attributes) AS attributes, \
                 min(name) AS first, max(name) AS last FROM spans GROUP BY service ORDER BY service";
    let ends: Vec<u64> = (0..2500).map(|n| NOON + n).collect();
    let (mut merged, mut before) = (0, None);
    for n in 0..24 {
        log.append(vec![spans(&format!("s{:02}", n % 4), &ends)]).expect("there is room");
        log.roll();
        merged += store.seal().expect("there is room").merged;
        if n == 7 {
            before = Some(rows(&store, asked));
        }
    }
    assert!(merged > 8, "{merged} files were merged");
    assert_eq!(count(&store, "spans"), 24 * 2500);
    let after = rows(&store, asked);
    let before = before.expect("there were eight");
    for (before, after) in before.rows.iter().zip(&after.rows) {
        assert_eq!((&before[0], &before[3..]), (&after[0], &after[3..]));
        assert_eq!(before[1].as_u64().map(|n| 3 * n), after[1].as_u64());
        assert_eq!(before[2].as_u64().map(|n| 3 * n), after[2].as_u64());
    }
    assert_eq!(rows(&house.beside(), asked), after);
}

/// Scenario: rows are pressed while they come; segments close, and sealing fails at any step.
/// Guarantees: each row is seen once, sealed or not, and files that were begun are gone.
#[test]
fn following_seals_the_same_rows() {
    let house = House::new();
    let (log, store) = house.open();
    let mut acked = 0;
    for (round, failing) in [None, Some("seal.create"), Some("seal.sync"), Some("seal.catalog"), None].into_iter().enumerate() {
        for n in 0..3 {
            log.append(vec![spans("s", &[NOON + n, NOON + HOUR]), logs("s", &[NOON])]).expect("there is room");
            acked += 2;
            if round % 2 == 0 || n == 1 {
                let _ = store.follow(Duration::ZERO);
            }
            assert_eq!(count(&store, "spans"), acked);
        }
        log.roll();
        // Records behind the closed segment are pressed as well.
        log.append(vec![spans("s", &[NOON])]).expect("there is room");
        acked += 1;
        let _ = store.follow(Duration::ZERO);
        if let Some(step) = failing {
            house.fuse.arm(step);
            let _ = store.seal();
            house.fuse.disarm();
            assert_eq!(count(&store, "spans"), acked);
        }
        store.seal().expect("there is room");
        assert_eq!((count(&store, "spans"), count(&house.beside(), "spans")), (acked, acked));
    }
    drop((store, log));
    let (_log, store) = house.open();
    assert_eq!(count(&store, "spans"), acked);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Scenario: appends, seals that fail at any step, releases, kills and restarts in any order.
    /// Guarantees: after every step each acked row is seen exactly once, here and read-only beside.
    #[test]
    fn every_row_is_seen_once(steps in proptest::collection::vec((0u8..6, 0usize..4), 1..14)) {
        let house = House::new();
        let (mut log, mut store) = house.open();
        let mut acked = 0;
        let failing = ["seal.create", "seal.sync", "seal.catalog", "seal.done"];
        for (step, which) in steps {
            match step {
                0 | 1 => {
                    let times: Vec<u64> = (0..which as u64 + 1).map(|n| NOON + n * HOUR / 2).collect();
                    acked += times.len() as u64;
                    log.append(vec![spans("s", &times)]).expect("there is room");
                }
                2 => {
                    log.roll();
                    store.seal().expect("there is room");
                }
                3 => {
                    log.roll();
                    house.fuse.arm(failing[which]);
                    let _ = store.seal();
                    // With nothing to seal the step was not reached.
                    house.fuse.disarm();
                }
                4 => log.release(log.head()),
                _ => {
                    drop((log, store));
                    (log, store) = house.open();
                }
            }
            prop_assert_eq!(count(&store, "spans"), acked);
            prop_assert_eq!(count(&house.beside(), "spans"), acked);
        }
    }
}

/// Scenario: windows are scored, amended, settled, sealed; the process dies and replays them.
/// Guarantees: one features row a series and window, the newest; no scores row while learning.
#[test]
fn windows_are_seen_once_through_seal_and_replay() {
    let house = House::new();
    let (cart, pay) = (series("cart"), series("pay"));
    let at = |n: u64| NOON + n * 10 * SECOND;
    let effects = [
        Effect::SeriesSeen(cart.clone().into()),
        Effect::SeriesSeen(pay.clone().into()),
        window(at(1), &[&cart, &pay], 0.1),
        window(at(1), &[&pay], 0.9),
        window(at(2), &[&cart, &pay], f32::NAN),
        Effect::Settled(UnixNanos(at(1))),
    ];
    let asked = "SELECT service, at_ns, score, role FROM scores ORDER BY at_ns, service";
    let wanted =
        vec![vec![json!("cart"), json!(at(1)), json!(0.1), json!("active")], vec![json!("pay"), json!(at(1)), json!(0.9), json!("active")]];
    let (log, store) = house.open();
    effects.iter().for_each(|effect| store.observe(effect));
    assert_eq!(rows(&store, asked).rows, wanted);
    store.snapshot_write(Seq(3), &mut |sink| sink.write_all(b"brain")).expect("there is room");
    store.seal().expect("there is room");
    assert_eq!(rows(&store, asked).rows, wanted);
    assert_eq!(count(&store, "features"), 4);
    drop((log, store));
    let (_log, store) = house.open();
    assert_eq!(store.snapshot_read(), Some((Seq(3), b"brain".to_vec())));
    assert_eq!(count(&store, "features"), 4, "unsettled windows come with the snapshot");
    effects.iter().for_each(|effect| store.observe(effect));
    assert_eq!(rows(&store, asked).rows, wanted);
    assert_eq!(count(&store, "features"), 4);
    assert_eq!(rows(&store, "SELECT f0, f1 FROM features LIMIT 1").rows, [[json!(0.5), json!(0.5)]]);
    assert_eq!(rows(&store, "SELECT expected, actual FROM bands LIMIT 1").rows, [[Value::Null, json!(1.0)]]);
    assert_eq!(store.series().iter().map(|series| series.service.as_str()).collect::<Vec<_>>(), ["cart", "pay"]);
}

/// Scenario: a canary speaks for one of two series, a shadow scores both; then the windows are sealed.
/// Guarantees: one row that is not `shadow` for each features row, with who spoke; the shadow's beside.
#[test]
fn every_row_has_one_speaker_and_its_shadows() {
    let house = House::new();
    let (cart, pay) = (series("cart"), series("pay"));
    let Effect::Window(mut scored) = window(NOON, &[&cart, &pay], 0.5) else { unreachable!("it makes a window") };
    let model = |name: &str| ModelRef { name: name.into(), version: "2".into(), ..ModelRef::default() };
    Arc::make_mut(&mut scored).parts = vec![
        Part { model: model("canary"), role: Role::Canary, rows: vec![1], ..Part::default() },
        Part { model: model("shadow"), role: Role::Shadow, rows: vec![0, 1], raw: vec![7.0, 8.0], score: vec![0.25, 0.75] },
    ];
    let (_log, store) = house.open();
    for effect in
        [Effect::SeriesSeen(cart.into()), Effect::SeriesSeen(pay.into()), Effect::Window(scored), Effect::Settled(UnixNanos(NOON))]
    {
        store.observe(&effect);
    }
    let wanted = json!([
        ["cart", "active", "default", "1", 0.5, 0.5],
        ["cart", "shadow", "shadow", "2", 7.0, 0.25],
        ["pay", "canary", "canary", "2", 0.5, 0.5],
        ["pay", "shadow", "shadow", "2", 8.0, 0.75],
    ]);
    let asked = "SELECT service, role, model, version, raw, score FROM scores ORDER BY service, role";
    assert_eq!(json!(rows(&store, asked).rows), wanted);
    store.snapshot_write(Seq(1), &mut |sink| sink.write_all(b"brain")).expect("there is room");
    store.seal().expect("there is room");
    assert_eq!(json!(rows(&store, asked).rows), wanted);
    assert_eq!(count(&store, "features"), 2);
}

/// Scenario: two windows of more series than one row group holds; late rows change some of the first; both are sealed.
/// Guarantees: no answer changes, and each series is there once a window.
#[test]
fn many_series_are_sealed_in_row_groups() {
    let house = House::new();
    let (_log, store) = house.open();
    let many: Vec<Series> = (0..20_000).map(|number| series(&format!("service-{number}"))).collect();
    let all: Vec<&Series> = many.iter().collect();
    let (first, second) = (NOON, NOON + 10 * SECOND);
    for effect in
        [window(first, &all, 0.25), window(second, &all, 0.5), window(first, &all[..7_000], 0.75), Effect::Settled(UnixNanos(second))]
    {
        store.observe(&effect);
    }
    let asked = "SELECT at_ns, score, count(*) AS n FROM scores GROUP BY at_ns, score ORDER BY at_ns, score";
    let wanted =
        [(first, 0.25, 13_000), (first, 0.75, 7_000), (second, 0.5, 20_000)].map(|(at, score, n)| vec![json!(at), json!(score), json!(n)]);
    assert_eq!(rows(&store, asked).rows, wanted);
    store.seal().expect("there is room");
    assert_eq!(rows(&store, asked).rows, wanted);
    assert_eq!(count(&store, "features"), 40_000);
    assert_eq!(rows(&store, "SELECT count(DISTINCT series) AS n FROM bands").rows, [[json!(20_000)]]);
}

/// Scenario: an incident opens and closes; the process is killed without a word.
/// Guarantees: the newest version is there after the restart, in the loader and in SQL, once.
#[test]
fn newest_versions_survive_a_kill() {
    let house = House::new();
    let (log, store) = house.open();
    for state in [State::Open, State::Closed] {
        store.observe(&Effect::Incident(Box::new(incident("i", state))));
        store.seal().expect("there is room");
    }
    store.observe(&Effect::Incident(Box::new(incident("j", State::Open))));
    drop((log, store));
    let (_log, store) = house.open();
    assert_eq!(store.incidents().len(), 2);
    let answer = rows(&store, "SELECT id, state, anomalies FROM incidents ORDER BY id");
    assert_eq!(answer.rows, [[json!("i"), json!("closed"), json!(["a"])], [json!("j"), json!("open"), json!(["a"])]]);
    store.seal().expect("there is room");
    assert_eq!(parquet_files(&house.dir.path().join("tables/incidents")), 1, "one file an hour, replaced");
}

/// Scenario: many small segments in one hour; then old arrivals; then too many bytes.
/// Guarantees: files are merged without losing rows, and whole files go, longest arrived first.
#[test]
fn files_are_merged_and_dropped() {
    let mut house = House::new();
    house.options.files_per_hour_max = 3;
    let (log, store) = house.open();
    for _ in 0..12 {
        log.append(vec![spans("s", &[NOON])]).expect("there is room");
        log.roll();
        store.seal().expect("there is room");
        log.release(log.head());
    }
    assert_eq!(count(&store, "spans"), 12);
    assert!(parquet_files(&house.dir.path().join("tables/spans")) <= 4, "merged files are deleted");
    house.clock.advance(HOUR);
    let mut late = logs("s", &[NOON]);
    late.at = UnixNanos(NOON + HOUR);
    log.append(vec![late]).expect("there is room");
    log.roll();
    store.seal().expect("there is room");
    let age = u64::try_from(house.options.retention_age.as_nanos()).expect("days fit");
    let report = store.retain(UnixNanos(NOON + age + 1)).expect("there is room");
    assert_eq!((report.rows, count(&store, "spans"), count(&store, "logs")), (12, 0, 1));
    assert_eq!(parquet_files(&house.dir.path().join("tables/spans")), 0);
    drop((log, store));
    house.options.retention_bytes = 1;
    let (_log, store) = house.open();
    store.retain(UnixNanos(NOON)).expect("there is room");
    assert_eq!(count(&store, "logs"), 0);
}

/// Scenario: durability `none` on a data directory, restarted.
/// Guarantees: sealed rows stay, and new records are not numbered below them.
#[test]
fn without_durability_sealed_rows_stay() {
    let mut house = House::new();
    house.log = LogOptions { durability: Durability::None, ..log_options() };
    let (log, store) = house.open();
    log.append(vec![spans("s", &[NOON; 3])]).expect("there is room");
    log.roll();
    store.seal().expect("there is room");
    assert_eq!(count(&store, "spans"), 3);
    drop((log, store));
    let (log, store) = house.open();
    assert_eq!(log.append(vec![spans("s", &[NOON; 2])]).expect("there is room"), Seq(2));
    assert_eq!(count(&store, "spans"), 5);
    log.roll();
    store.seal().expect("there is room");
    assert_eq!(count(&store, "spans"), 5);
    drop((log, store));
    // A log that is told no directory at all learns its position from the store.
    let (log, _) = Log::open(None, house.log.clone(), house.clock.clone()).expect("in memory");
    let store = Store::open(house.dir.path(), house.options.clone(), log.clone()).expect("the directory is ours");
    assert_eq!(log.append(vec![spans("s", &[NOON])]).expect("there is room"), Seq(3));
    assert_eq!(count(&store, "spans"), 6);
    let (second, _) = Log::open(None, house.log.clone(), house.clock.clone()).expect("in memory");
    let refused = Store::open(house.dir.path(), house.options.clone(), second).err().expect("two writers");
    assert_eq!(refused.class(), Class::Config);
}

/// Scenario: answers over the cap, queries over the slots, unknown names, too little time.
/// Guarantees: an error that says what to do, never a shorter answer.
#[test]
fn bounds_are_errors_that_say_so() {
    let mut house = House::new();
    house.options.query_rows_max = 10;
    let (log, store) = house.open();
    log.append(vec![spans("s", &[NOON; 11])]).expect("there is room");
    let error = store.query("SELECT name FROM spans").expect_err("eleven rows are too many");
    assert!(matches!(error, StoreError::TooManyRows { limit: 10 }) && error.to_string().contains("LIMIT 10"), "{error}");
    assert_eq!(rows(&store, "SELECT name FROM spans LIMIT 10").rows.len(), 10);
    let error = store.query("SELECT nonsense FROM spans").expect_err("there is no such column");
    assert!(error.to_string().contains("spans has trace_id, span_id"), "{error}");
    assert_eq!(error.class(), Class::Reject);
    let error = store.query("SELECT * FROM read_parquet('x')").expect_err("not a table of ours");
    assert_eq!(error.class(), Class::Reject);
    drop((log, store));
    house.options.query_bytes_max = 10;
    let (log, store) = house.open();
    let error = store.query("SELECT name FROM spans ORDER BY name").expect_err("eleven names are more than ten bytes");
    assert!(matches!(error, StoreError::TooMuchMemory { .. }), "{error}");
    drop((log, store));
    house.options.query_bytes_max = 1 << 20;
    house.options.query_timeout = Duration::ZERO;
    let (log, store) = house.open();
    assert!(matches!(store.query("SELECT count(*) FROM spans"), Err(StoreError::TimedOut(_))));
    drop((log, store));
    (house.options.query_timeout, house.options.queries_max) = (Duration::from_secs(10), 0);
    // The query that ran out of time may still hold the store's files, but not the lock of a new house.
    let other = House { dir: tempfile::tempdir().expect("a temporary folder can be made"), ..house };
    let (_log, store) = other.open();
    assert_eq!(store.query("SELECT 1").expect_err("no slot").class(), Class::Busy);
}

// Scenario: statements as deep as they may be; two tables joined row by row.
// Guarantees: they run, whatever the recursion takes; pairs that do not fit are refused before any is made.
#[test]
fn a_deep_statement_runs_and_a_wide_one_is_refused() {
    let mut house = House::new();
    house.options.query_timeout = Duration::from_secs(120);
    let (log, store) = house.open();
    log.append(vec![spans("s", &[NOON; 11])]).expect("there is room");
    let sum = format!("SELECT 1{} AS n", " + 1".repeat(900));
    assert_eq!(rows(&store, &sum).rows, [[json!(901)]]);
    let either = format!("SELECT count(*) AS n FROM spans WHERE service = 's'{}", " OR service = 'x'".repeat(450));
    assert_eq!(rows(&store, &either).rows, [[json!(11)]]);
    let joined = format!("SELECT service{} AS n FROM spans LIMIT 1", " || service".repeat(99));
    assert_eq!(rows(&store, &joined).rows, [[json!("s".repeat(100))]]);
    let union = format!("SELECT 1 AS n{}", " UNION ALL SELECT 1 AS n".repeat(100));
    assert_eq!(rows(&store, &union).rows.len(), 101);
    assert_eq!(rows(&store, "SELECT count(*) AS n FROM spans a CROSS JOIN spans b").rows, [[json!(121)]]);
    drop((log, store));
    house.options.query_bytes_max = 1_500;
    let (_log, store) = house.open();
    let error = store.query("SELECT count(*) FROM spans a, spans b").expect_err("121 pairs of 16 bytes");
    assert!(error.class() == Class::Reject && error.to_string().contains("121 rows"), "{error}");
}

/// Scenario: a thread seals while another counts.
/// Guarantees: the count never differs from what was acked.
#[test]
fn counting_while_sealing_never_doubles() {
    let house = House::new();
    let (log, store) = house.open();
    let sealer = {
        let (log, store) = (log.clone(), store.clone());
        std::thread::spawn(move || {
            for _ in 0..20 {
                log.roll();
                store.seal().expect("there is room");
                log.release(log.head());
            }
        })
    };
    let batch: Vec<Record> = vec![spans("s", &[NOON; 5])];
    for n in 1..=20 {
        log.append(batch.clone()).expect("there is room");
        assert_eq!(count(&store, "spans"), n * 5);
    }
    sealer.join().expect("it does not panic");
}

/// Scenario: two hundred requests of a hundred spans, appended, sealed, counted.
/// Guarantees: the count is right; with `--nocapture` it prints what each step cost.
#[test]
fn what_a_span_costs() {
    let house = House::new();
    let (log, store) = house.open();
    let request = spans("cart", &[NOON; 100]);
    let group: Vec<Record> = vec![request; 200];
    let timed = |name: &str, work: &mut dyn FnMut()| {
        let started = std::time::Instant::now();
        work();
        eprintln!("{name}: {} ns a span", started.elapsed().as_nanos() / 20_000);
    };
    timed("append", &mut || {
        log.append(group.clone()).expect("there is room");
    });
    timed("count recent", &mut || assert_eq!(count(&store, "spans"), 20_000));
    log.roll();
    timed("seal", &mut || {
        store.seal().expect("there is room");
    });
    timed("count sealed", &mut || assert_eq!(count(&store, "spans"), 20_000));
    timed("group sealed", &mut || {
        rows(&store, "SELECT service, name, avg(duration_ns) AS d FROM spans GROUP BY service, name");
    });
}
