//! One budget of bytes for all open requests, decompressed size included.
//!
//! A `Permit` grows as its request does and gives everything back when dropped. Growing never waits:
//! a request that does not fit is refused at once, so requests cannot wait for each other.

use crate::access::Account;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The bytes that open requests may hold together. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    used: Arc<AtomicUsize>,
    bytes_max: usize,
    /// What one tenant may hold of it, where there are several.
    share_bytes_max: usize,
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
        Self { used: Arc::default(), bytes_max, share_bytes_max: bytes_max }
    }

    /// The same budget, of which no tenant gets more than half, nor less than one request of this size.
    pub(crate) fn shared(self, request_bytes_max: usize) -> Self {
        let share_bytes_max = (self.bytes_max / 2).max(request_bytes_max).min(self.bytes_max);
        Self { share_bytes_max, ..self }
    }

    /// Bytes held by open requests.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Opens a permit over `bytes` in the account's share.
    pub(crate) fn permit(&self, account: &Arc<Account>, is_shared: bool, bytes: usize) -> Result<Permit, OverBudget> {
        let share_max = if is_shared { self.share_bytes_max } else { self.bytes_max };
        let mut permit = Permit { budget: self.clone(), account: Arc::clone(account), share_max, bytes: 0 };
        permit.grow_to(bytes)?;
        Ok(permit)
    }
}

/// A request's share of the budget.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Budget,
    account: Arc<Account>,
    share_max: usize,
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
        let (max, share_max) = (self.budget.bytes_max, self.share_max);
        if bytes > share_max {
            return Err(OverBudget::Never(share_max));
        }
        take(&self.account.held, more, share_max)?;
        take(&self.budget.used, more, max).inspect_err(|_| {
            self.account.held.fetch_sub(more, Ordering::Relaxed);
        })?;
        self.bytes = bytes;
        metrics::gauge!("geophone_open_bytes").increment(as_f64(more));
        Ok(())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.account.held.fetch_sub(self.bytes, Ordering::Relaxed);
        self.budget.used.fetch_sub(self.bytes, Ordering::Relaxed);
        metrics::gauge!("geophone_open_bytes").decrement(as_f64(self.bytes));
    }
}

fn take(used: &AtomicUsize, more: usize, max: usize) -> Result<(), OverBudget> {
    let taken = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| used.checked_add(more).filter(|used| *used <= max));
    taken.map(drop).map_err(|used| OverBudget::Missing(used.saturating_add(more).saturating_sub(max)))
}

#[allow(clippy::cast_precision_loss, reason = "gauges are f64")]
fn as_f64(bytes: usize) -> f64 {
    bytes as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::Access;

    #[test]
    fn what_is_dropped_is_free_again_and_nothing_is_held_twice() {
        let (budget, account) = (Budget::new(100), Access::default().strangers());
        let mut first = budget.permit(&account, false, 60).expect("the budget is empty");
        assert_eq!(budget.permit(&account, false, 50).err(), Some(OverBudget::Missing(10)));
        first.grow_to(90).expect("30 more fit");
        assert_eq!(first.grow_to(101), Err(OverBudget::Never(100)));
        first.grow_to(10).expect("shrinking is no growth");
        assert_eq!((first.bytes(), budget.used()), (90, 90));
        drop(first);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn of_several_tenants_none_gets_more_than_half() {
        let [noisy, quiet] = [(); 2].map(|()| Access::default().strangers());
        let budget = Budget::new(100).shared(10);
        let held = budget.permit(&noisy, true, 40).expect("the budget is empty");
        assert_eq!(budget.permit(&noisy, true, 30).err(), Some(OverBudget::Missing(20)));
        assert_eq!(budget.permit(&noisy, true, 60).err(), Some(OverBudget::Never(50)));
        let other = budget.permit(&quiet, true, 50).expect("its half is free");
        assert_eq!(budget.permit(&noisy, true, 11).err(), Some(OverBudget::Missing(1)));
        drop((held, other));
        assert!(budget.permit(&noisy, true, 50).is_ok(), "what was refused is not held");
        assert_eq!(budget.used(), 0);
    }
}
