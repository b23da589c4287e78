//! Scenario: the disk answers no sync for a while, then does.
//! Guarantees: what waits behind the write, and what comes later, is told when to come again; what is in the write is
//! answered by its outcome; nothing is both refused and stored, the books balance, readiness says so, and it ends by itself.

use super::{
    SystemClock,
    committer::Committer,
    pulse::Pulse,
    standstill,
    submit::{Submission, Submitter},
    threads,
};
use geophone_ingest::{Access, Config, Listening, serve};
use geophone_proto::{
    RecordBody, Seq,
    otlp::{
        collector::trace::v1::ExportTraceServiceRequest,
        trace::v1::{ResourceSpans, ScopeSpans, Span},
    },
    seam::Clock,
};
use geophone_store::{Failpoint, Log, LogOptions};
use prost::Message;
use std::{
    net::SocketAddr,
    path::Path,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::{mpsc, watch},
};

/// Long enough for the second request to get behind the first.
const PATIENCE: Duration = Duration::from_secs(1);

/// A disk whose syncs can be held up.
#[derive(Default)]
struct Gate {
    /// Whether it is shut, and whether somebody stands before it.
    state: Mutex<(bool, bool)>,
    moved: Condvar,
}

impl Gate {
    fn lock(&self) -> MutexGuard<'_, (bool, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shut(&self, shut: bool) {
        self.lock().0 = shut;
        self.moved.notify_all();
    }

    fn is_before(&self) -> bool {
        self.lock().1
    }

    fn pass(&self) {
        let mut state = self.lock();
        while state.0 {
            state.1 = true;
            state = self.moved.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.1 = false;
    }
}

struct Site {
    listening: Listening,
    access: Access,
    log: Arc<Log>,
    pulse: Arc<Pulse>,
    gate: Arc<Gate>,
    stop: watch::Sender<bool>,
    submitter: Submitter,
}

async fn site(dir: &Path) -> Site {
    let (gate, clock): (Arc<Gate>, Arc<dyn Clock>) = (Arc::default(), Arc::new(SystemClock));
    let held = gate.clone();
    let failpoint: Failpoint = Arc::new(move |step| {
        if step == "append.sync" {
            held.pass();
        }
        Ok(())
    });
    let options = LogOptions { failpoint: Some(failpoint), ..LogOptions::new(super::decoder()) };
    let (log, _) = Log::open(Some(dir), options, clock.clone()).expect("an empty folder opens");
    let (pulse, access) = (Arc::new(Pulse::default()), Access::default());
    pulse.set_storage(true);
    let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let config = Config { grpc: None, http: any, access: access.clone(), ..Config::default() };
    let ((sink, arrivals), (stop, stopped)) = (mpsc::channel(64), watch::channel(false));
    let (submitter, submissions): (Submitter, mpsc::Receiver<Submission>) = Submitter::new(4);
    let listening = serve(config, clock.clone(), sink, stopped.clone()).await.expect("loopback has free ports");
    let arrivals = Arc::new(tokio::sync::Mutex::new(arrivals));
    let pressure = listening.pressure.clone();
    threads::task(standstill::watch(Arc::downgrade(&arrivals), pressure.clone(), pulse.clone(), Duration::from_millis(10)));
    let committer = Committer { log: log.clone(), arrivals, submissions, pressure, patience: PATIENCE, pulse: pulse.clone(), clock };
    threads::plain_async("committer", committer.run(stopped)).expect("a thread");
    Site { listening, access, log, pulse, gate, stop, submitter }
}

/// Sends one span of that name; gives the head of the answer.
async fn post(address: SocketAddr, name: &str) -> String {
    let span = Span { trace_id: vec![1; 16], span_id: vec![1; 8], name: name.into(), ..Span::default() };
    let scope_spans = vec![ScopeSpans { spans: vec![span], ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { scope_spans, ..ResourceSpans::default() }];
    let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/x-protobuf\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    let mut stream = TcpStream::connect(address).await.expect("the server listens");
    stream.write_all(&[head.as_bytes(), &body].concat()).await.expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.expect("it answers");
    String::from_utf8_lossy(&answer).to_lowercase()
}

/// Waits until it is so.
async fn until(what: &str, is: impl Fn() -> bool) {
    let mut look = tokio::time::interval(Duration::from_millis(5));
    let looks = async {
        while !is() {
            look.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), looks).await.unwrap_or_else(|_| panic!("it never happened that {what}"));
}

fn assert_told_to_come_again(answer: &str) {
    assert!(answer.starts_with("http/1.1 503") && answer.contains("retry-after: "), "{answer}");
}

/// Names of the spans in the log.
fn stored(log: &Arc<Log>) -> Vec<String> {
    let mut reader = log.reader(Seq(1));
    let records = std::iter::from_fn(|| reader.next(Duration::ZERO).expect("the log is whole"));
    let names = records.filter_map(|(_, record)| {
        let RecordBody::Batch(export) = record.body else { return None };
        let request = ExportTraceServiceRequest::decode(export.wire).expect("what was sent");
        Some(request.resource_spans[0].scope_spans[0].spans[0].name.clone())
    });
    names.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_behind_a_disk_that_stands_still_is_told_to_come_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let site = site(folder.path()).await;
    let address = site.listening.http.expect("configured");
    let open = || site.access.traffic().iter().map(|line| line.counts.items.open).sum::<u64>();
    let is_fine = || site.pulse.checks().contains(&("storage", true));
    site.gate.shut(true);
    let first = tokio::spawn(async move { post(address, "first").await });
    until("the first is being written", || site.gate.is_before()).await;
    assert!(is_fine(), "a write that takes a moment is no standstill");
    let second = tokio::spawn(async move { post(address, "second").await });
    until("the second waits behind it", || open() == 2).await;
    assert_told_to_come_again(&second.await.expect("no panic"));
    assert_told_to_come_again(&post(address, "third").await);
    assert_eq!(open(), 1, "the first waits for its outcome");
    until("readiness knows", || !is_fine()).await;
    assert!(!first.is_finished());
    site.gate.shut(false);
    let first = first.await.expect("no panic");
    assert!(first.starts_with("http/1.1 200"), "{first}");
    until("readiness knows that it is over", is_fine).await;
    let fourth = post(address, "fourth").await;
    assert!(fourth.starts_with("http/1.1 200"), "{fourth}");
    assert_eq!(stored(&site.log), ["first", "fourth"], "what was refused is not stored, what is stored was not refused");
    let traffic = site.access.traffic();
    let [line] = traffic.as_slice() else { panic!("one tenant, one transport, one signal: {traffic:?}") };
    let (requests, items) = (line.counts.requests, line.counts.items);
    assert_eq!((requests.received, requests.acked, requests.refused, requests.open), (4, 2, 2, 0));
    assert_eq!((items.received, items.acked, items.refused, items.open), (3, 2, 1, 0));
    assert_eq!(line.counts.refused_requests, [("busy", 1), ("stalled", 1)], "one from the queue, one at the door");
    site.stop.send_replace(true);
    site.listening.stopped().await;
    drop(site.submitter);
}
