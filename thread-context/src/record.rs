//! The record that the variable points to, and the ways to change it. Two records a thread: the one not
//! shown is filled, then the pointer is turned, so whoever interrupts the thread sees one or the other.

use crate::variable;
use std::{
    cell::{Cell, UnsafeCell},
    marker::PhantomData,
    ptr,
    sync::atomic::{Ordering, compiler_fence},
};

/// A span, as W3C trace context writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ids {
    /// Its trace.
    pub trace_id: [u8; 16],
    /// The span.
    pub span_id: [u8; 8],
    /// The sampled flag.
    pub sampled: bool,
}

/// OTEP 4947's layout, without attributes.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Record {
    trace_id: [u8; 16],
    span_id: [u8; 8],
    valid: u8,
    trace_flags: u8,
    attributes_size: u16,
}

const EMPTY: Record = Record { trace_id: [0; 16], span_id: [0; 8], valid: 1, trace_flags: 0, attributes_size: 0 };
const _: () = assert!(std::mem::offset_of!(Record, valid) == 24 && std::mem::offset_of!(Record, attributes_size) == 26);

thread_local! {
    static RECORDS: [UnsafeCell<Record>; 2] = const { [UnsafeCell::new(EMPTY), UnsafeCell::new(EMPTY)] };
    static SHOWN: Cell<usize> = const { Cell::new(0) };
}

/// Shows this span (none = no span) from now on; gives what was shown before.
#[inline]
#[allow(unsafe_code, reason = "a variable of the thread that another program reads")]
pub fn replace(ids: Option<Ids>) -> Option<Ids> {
    let place = variable::place();
    RECORDS.with(|records| {
        // SAFETY: `place` is this thread's own variable; nobody else writes it. It is null or points to
        // one of this thread's two records, which live as long as the thread.
        let before = unsafe { place.read().cast::<Record>().as_ref() }.map(|record| Ids {
            trace_id: record.trace_id,
            span_id: record.span_id,
            sampled: record.trace_flags & 1 == 1,
        });
        let Some(ids) = ids else {
            compiler_fence(Ordering::SeqCst);
            // SAFETY: as above.
            unsafe { place.write_volatile(ptr::null()) };
            return before;
        };
        let next = SHOWN.get() ^ 1;
        SHOWN.set(next);
        let record = records[next].get();
        // SAFETY: this record is not shown, and no reference to it is held: only this function makes one,
        // above, and copies from it at once.
        unsafe { record.write(Record { trace_id: ids.trace_id, span_id: ids.span_id, trace_flags: u8::from(ids.sampled), ..EMPTY }) };
        // Readers interrupt this very thread: order within it is all they need.
        compiler_fence(Ordering::SeqCst);
        // SAFETY: as above.
        unsafe { place.write_volatile(record.cast_const().cast()) };
        before
    })
}

/// What is shown now.
#[allow(unsafe_code, reason = "a variable of the thread that another program reads")]
pub fn current() -> Option<Ids> {
    // SAFETY: as in `replace`.
    let record = unsafe { variable::place().read().cast::<Record>().as_ref() }?;
    Some(Ids { trace_id: record.trace_id, span_id: record.span_id, sampled: record.trace_flags & 1 == 1 })
}

/// Shows the span until the guard goes; then what was shown before.
#[inline]
pub fn attach(ids: Ids) -> Attached {
    Attached { before: replace(Some(ids)), of_this_thread: PhantomData }
}

/// A span is shown while this lives. Bound to its thread.
#[must_use = "the span is shown only while this lives"]
#[derive(Debug)]
pub struct Attached {
    before: Option<Ids>,
    of_this_thread: PhantomData<*const ()>,
}

impl Drop for Attached {
    #[inline]
    fn drop(&mut self) {
        replace(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(number: u8) -> Ids {
        Ids { trace_id: [number; 16], span_id: [number; 8], sampled: number % 2 == 1 }
    }

    #[test]
    fn spans_nest() {
        let outer = attach(ids(1));
        {
            let _inner = attach(ids(2));
            assert_eq!(current(), Some(ids(2)));
        }
        assert_eq!(current(), Some(ids(1)));
        drop(outer);
        assert_eq!(current(), None);
    }

    #[test]
    fn threads_are_apart() {
        let _here = attach(ids(1));
        let there = std::thread::spawn(|| {
            assert_eq!(current(), None);
            let _there = attach(ids(2));
            current()
        });
        assert_eq!(there.join().expect("no panic"), Some(ids(2)));
        assert_eq!(current(), Some(ids(1)));
    }
}
