//! A `tracing` layer: shows the entered span, on every enter, and on every exit what was shown before.
//! An instrumented future enters at each poll, so this is right across `await`.

use crate::record::{Ids, replace};
use std::cell::RefCell;
use tracing_core::{Subscriber, span};
use tracing_subscriber::{
    layer::{Context, Layer},
    registry::LookupSpan,
};

thread_local! {
    /// Entered on this thread and not left, with what was shown before each.
    static ENTERED: RefCell<Vec<(span::Id, Option<Ids>)>> = const { RefCell::new(Vec::new()) };
}

/// The layer. Add it after the layer that gives spans their ids.
#[derive(Clone, Debug)]
pub struct ContextLayer<F> {
    ids_of: F,
}

impl<F> ContextLayer<F> {
    /// `ids_of` finds the ids of the span that has just been entered; `None` shows no span.
    pub const fn new(ids_of: F) -> Self {
        Self { ids_of }
    }
}

#[cfg(feature = "opentelemetry")]
impl ContextLayer<fn(&span::Id) -> Option<Ids>> {
    /// Ids from OpenTelemetry's current context, which `tracing-opentelemetry` sets on enter.
    pub fn opentelemetry() -> Self {
        Self::new(|_| crate::processor::current_opentelemetry())
    }
}

impl<S, F> Layer<S> for ContextLayer<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    F: Fn(&span::Id) -> Option<Ids> + 'static,
{
    fn on_enter(&self, id: &span::Id, _: Context<'_, S>) {
        let before = replace((self.ids_of)(id));
        ENTERED.with_borrow_mut(|entered| entered.push((id.clone(), before)));
    }

    fn on_exit(&self, id: &span::Id, _: Context<'_, S>) {
        ENTERED.with_borrow_mut(|entered| {
            let Some(at) = entered.iter().rposition(|(other, _)| other == id) else { return };
            let (_, before) = entered.remove(at);
            match entered.get_mut(at) {
                // Left out of order: whoever entered after it goes on, and later shows what was before both.
                Some((_, next)) => *next = before,
                None => drop(replace(before)),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::current;
    use tracing_subscriber::prelude::*;

    fn of(number: u64) -> Ids {
        let low = number.to_be_bytes();
        Ids { trace_id: [[0; 8], low].concat().try_into().expect("16 bytes"), span_id: low, sampled: true }
    }

    #[test]
    fn the_entered_span_is_shown_also_when_left_out_of_order() {
        let layer = ContextLayer::new(|id: &span::Id| Some(of(id.into_u64())));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let (a, b) = (tracing::info_span!("a"), tracing::info_span!("b"));
            let shown = |span: &tracing::Span| span.id().map(|id| of(id.into_u64()));
            let in_a = a.enter();
            assert_eq!(current(), shown(&a));
            let in_b = b.enter();
            assert_eq!(current(), shown(&b));
            drop(in_a);
            assert_eq!(current(), shown(&b));
            drop(in_b);
            assert_eq!(current(), None);
        });
    }
}
