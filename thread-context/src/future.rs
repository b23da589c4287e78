//! A future whose polls run under a span, on whatever thread.

use crate::record::{Ids, attach};
use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

/// Shows the span while the future is polled, and only then. The future is boxed by whoever cannot move it.
#[derive(Debug)]
pub struct InSpan<F> {
    ids: Ids,
    future: F,
}

impl<F: Future + Unpin> InSpan<F> {
    /// Runs `future` under this span: `InSpan::new(ids, Box::pin(async { ... }))`.
    pub const fn new(ids: Ids, future: F) -> Self {
        Self { ids, future }
    }
}

impl<F: Future + Unpin> Future for InSpan<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _attached = attach(self.ids);
        Pin::new(&mut self.future).poll(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::current;
    use std::task::Waker;

    /// Ready at the second poll; remembers what was shown at each.
    struct Slow(Vec<Option<Ids>>);

    impl Future for Slow {
        type Output = Vec<Option<Ids>>;

        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
            self.0.push(current());
            if self.0.len() == 2 { Poll::Ready(std::mem::take(&mut self.0)) } else { Poll::Pending }
        }
    }

    #[test]
    fn two_futures_on_one_thread_keep_their_spans() {
        let ids = |number| Ids { trace_id: [number; 16], span_id: [number; 8], sampled: true };
        let mut context = Context::from_waker(Waker::noop());
        let mut futures = [1, 2].map(|number| InSpan::new(ids(number), Slow(Vec::new())));
        for future in &mut futures {
            assert!(Pin::new(future).poll(&mut context).is_pending());
            assert_eq!(current(), None, "between polls the thread is nobody's");
        }
        // The rest on another thread, as a runtime may do.
        let rest = std::thread::spawn(move || {
            futures.map(|mut future| match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(shown) => shown,
                Poll::Pending => Vec::new(),
            })
        });
        assert_eq!(rest.join().expect("no panic"), [vec![Some(ids(1)); 2], vec![Some(ids(2)); 2]]);
    }
}
