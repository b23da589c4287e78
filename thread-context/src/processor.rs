//! An OpenTelemetry span processor: shows a span from its start to its end on the thread that starts it.
//! Right for code that does not `await` within a span; with async code use the layer or `InSpan`, since a
//! processor is not told when a task is put aside.

use crate::record::{Ids, current, replace};
use opentelemetry::{
    Context,
    trace::{Span as _, SpanContext, TraceContextExt},
};
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{Span, SpanData, SpanProcessor},
};
use std::{cell::RefCell, time::Duration};

thread_local! {
    /// Started on this thread and not ended, with what was shown before each.
    static STARTED: RefCell<Vec<(Ids, Option<Ids>)>> = const { RefCell::new(Vec::new()) };
}

/// Spans started on one thread and never ended are forgotten beyond this.
const STARTED_MAX: usize = 1_024;

fn ids_of(context: &SpanContext) -> Option<Ids> {
    let sampled = context.trace_flags().is_sampled();
    context.is_valid().then(|| Ids { trace_id: context.trace_id().to_bytes(), span_id: context.span_id().to_bytes(), sampled })
}

/// The span of OpenTelemetry's current context.
pub fn current_opentelemetry() -> Option<Ids> {
    Context::map_current(|context| ids_of(context.span().span_context()))
}

/// The processor.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContextProcessor;

impl SpanProcessor for ContextProcessor {
    fn on_start(&self, span: &mut Span, _: &Context) {
        let Some(ids) = ids_of(span.span_context()) else { return };
        let before = replace(Some(ids));
        STARTED.with_borrow_mut(|started| {
            if started.len() >= STARTED_MAX {
                started.clear();
            }
            started.push((ids, before));
        });
    }

    fn on_end(&self, span: SpanData) {
        let Some(ids) = ids_of(&span.span_context) else { return };
        STARTED.with_borrow_mut(|started| {
            let Some(at) = started.iter().rposition(|(other, _)| *other == ids) else { return };
            let (_, before) = started.remove(at);
            match started.get_mut(at) {
                Some((_, next)) => *next = before,
                None if current() == Some(ids) => drop(replace(before)),
                None => {}
            }
        });
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}
