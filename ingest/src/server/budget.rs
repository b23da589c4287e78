//! One budget of bytes for all open requests, decompressed size included.
//!
//! A `Permit` grows as its request does and gives everything back when dropped. Growing never waits:
//! a request that does not fit is refused at once, so requests cannot wait for each other.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The bytes that open requests may hold together. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    used: Arc<AtomicUsize>,
    bytes_max: usize,
}

/// The request does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverBudget {
    /// Until others give back so many bytes.
    Missing(usize),
    /// Ever: it needs more than the whole budget of so many bytes.
    Never(usize),
}

impl Budget {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { used: Arc::default(), bytes_max }
    }

    /// Bytes held by open requests.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Opens a permit over `bytes`.
    pub(crate) fn permit(&self, bytes: usize) -> Result<Permit, OverBudget> {
        let mut permit = Permit { budget: self.clone(), bytes: 0 };
        permit.grow_to(bytes)?;
        Ok(permit)
    }
}

/// A request's share of the budget.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Budget,
    bytes: usize,
}

impl Permit {
    /// Bytes held.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds at least `bytes`, or leaves the permit as it is.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), OverBudget> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else { return Ok(()) };
        let max = self.budget.bytes_max;
        if bytes > max {
            return Err(OverBudget::Never(max));
        }
        self.budget
            .used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| used.checked_add(more).filter(|used| *used <= max))
            .map_err(|used| OverBudget::Missing(used.saturating_add(more).saturating_sub(max)))?;
        self.bytes = bytes;
        metrics::gauge!("geophone_open_bytes").increment(as_f64(more));
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        metrics::gauge!("geophone_open_bytes").decrement(as_f64(self.bytes));
    }
}

#[allow(clippy::cast_precision_loss, reason = "gauges are f64")]
fn as_f64(bytes: usize) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_free_again_and_nothing_is_held_twice() {
        let budget = Budget::new(100);
        let mut first = budget.permit(60).expect("the budget is empty");
        assert_eq!(budget.permit(50).err(), Some(OverBudget::Missing(10)));
        first.grow_to(90).expect("30 more fit");
        assert_eq!(first.grow_to(101), Err(OverBudget::Never(100)));
        first.grow_to(10).expect("shrinking is no growth");
        assert_eq!((first.bytes(), budget.used()), (90, 90));
        drop(first);
        assert_eq!(budget.used(), 0);
    }
}
