//! A real process beside the simulated shop: the service `till`, which turns slow in one function now and
//! then. Its spans are real, its thread context too, so an incident of it shows that function.
//!
//! It is this very binary, started again with a hidden command.

use crate::error::ServiceError;
use clap::Args;
use geophone_client::{Client, ClientConfig, ExportRequest};
use geophone_proto::{
    UnixNanos,
    otlp::{
        collector::trace::v1::ExportTraceServiceRequest,
        common::v1::{AnyValue, KeyValue, any_value::Value},
        resource::v1::Resource,
        trace::v1::{ResourceSpans, ScopeSpans, Span, span::SpanKind},
    },
    seam::Clock,
};
use geophone_thread_context::{Ids, attach, publish_process};
use rand::RngExt;
use rand_pcg::Pcg64Mcg;
use std::{
    hint::black_box,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

/// Requests begin this often.
const EVERY: Duration = Duration::from_millis(50);
/// Spans leave together.
const BATCH: usize = 20;
/// Of each round, the last part is slow.
pub const ROUND: Duration = Duration::from_secs(12 * 60);
/// How long that part is.
pub const SLOW: Duration = Duration::from_secs(3 * 60);

/// The hidden command.
#[derive(Clone, Debug, Args)]
pub struct Till {
    /// Where spans go, OTLP over gRPC.
    #[arg(long)]
    endpoint: String,
}

/// The running process; ends with this value.
#[derive(Debug)]
pub struct TillProcess(Child);

impl TillProcess {
    /// Starts this program again as the till.
    pub fn start(endpoint: &str) -> Result<Self, ServiceError> {
        let failed = || ServiceError::io("start the till's process");
        let own = std::env::current_exe().map_err(failed())?;
        let mut command = Command::new(own);
        command.args(["demo-till", "--endpoint", endpoint]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().map(Self).map_err(failed())
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for TillProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

impl Till {
    /// Serves pretended customers until its input closes, which it does when the demo ends however it ends.
    pub fn run(self, clock: Arc<dyn Clock>) -> Result<(), ServiceError> {
        if let Err(error) = publish_process(&[("service.name", "till"), ("service.instance.id", "till-1")]) {
            tracing::warn!("stacks of the till will be tied to its spans by time only: {error}");
        }
        crate::wiring::plain("orphan", || {
            let _ = std::io::stdin().read_line(&mut String::new());
            std::process::exit(0);
        })?;
        let config = ClientConfig { endpoint: self.endpoint, ..ClientConfig::default() };
        let client = Client::new(config).map_err(|error| ServiceError::room(error.class(), error))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServiceError::io("start a runtime"))?;
        let mut random = Pcg64Mcg::new(u128::from(clock.now().0) | 1);
        let (begun, mut spans) = (Instant::now(), Vec::new());
        for number in 1u32.. {
            let into = Duration::from_secs(begun.elapsed().as_secs() % ROUND.as_secs());
            spans.push(checkout(into >= ROUND - SLOW, &mut random, &*clock));
            if spans.len() >= BATCH {
                // A batch that nobody takes is lost, as with any exporter.
                let _ = runtime.block_on(client.export(request(std::mem::take(&mut spans))));
            }
            // Its pace; nobody unparks it.
            thread::park_timeout((EVERY * number).saturating_sub(begun.elapsed()));
        }
        Ok(())
    }
}

fn request(spans: Vec<Span>) -> ExportRequest {
    let attributes = vec![
        attribute("service.name", Value::StringValue("till".into())),
        attribute("service.instance.id", Value::StringValue("till-1".into())),
        attribute("process.pid", Value::IntValue(std::process::id().into())),
    ];
    let resource = Some(Resource { attributes, ..Resource::default() });
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    ExportRequest::Traces(ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }],
    })
}

/// One request of a customer, as a span.
fn checkout(is_slow: bool, random: &mut Pcg64Mcg, clock: &dyn Clock) -> Span {
    let (trace_id, span_id): ([u8; 16], [u8; 8]) = (random.random(), random.random());
    let start = clock.now();
    {
        let _attached = attach(Ids { trace_id, span_id, sampled: true });
        black_box(add_up_basket(random));
        if is_slow {
            black_box(apply_every_voucher(random));
        }
        black_box(print_receipt(random));
    }
    let UnixNanos(end) = clock.now();
    Span {
        trace_id: trace_id.to_vec(),
        span_id: span_id.to_vec(),
        name: "POST /checkout".into(),
        kind: SpanKind::Server as i32,
        start_time_unix_nano: start.0,
        end_time_unix_nano: end,
        ..Span::default()
    }
}

#[inline(never)]
fn add_up_basket(random: &mut Pcg64Mcg) -> u64 {
    compute(Duration::from_micros(random.random_range(1_500..3_000)))
}

/// What goes wrong: all vouchers ever issued are tried, one after the other.
#[inline(never)]
fn apply_every_voucher(random: &mut Pcg64Mcg) -> u64 {
    compute(Duration::from_micros(random.random_range(18_000..30_000)))
}

#[inline(never)]
fn print_receipt(random: &mut Pcg64Mcg) -> u64 {
    compute(Duration::from_micros(random.random_range(500..1_000)))
}

#[inline(always)]
fn compute(length: Duration) -> u64 {
    let begun = Instant::now();
    let mut state = 1u64;
    while begun.elapsed() < length {
        state = (0..500).fold(state, |state, step| black_box(state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(step)));
    }
    state
}
