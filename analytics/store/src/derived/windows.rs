//! Scored windows that are not in Parquet yet. They stay here until they are settled (late rows amend
//! them), and are saved with the brain's snapshot: what the snapshot lacks, replay brings again.

use geophone_proto::{SeriesKey, UnixNanos, effect::ScoredWindow};
use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::Arc,
};

/// One row: a part of a window and the row in it.
pub(crate) type WindowRow = (Arc<ScoredWindow>, usize);
/// One window as it came: first all of it, then what late rows have changed.
pub(crate) type WindowParts = Vec<Arc<ScoredWindow>>;

/// Windows by their end, each as the parts that came, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Windows {
    pending: BTreeMap<u64, WindowParts>,
    /// Windows that end at or before this will not change any more.
    settled: u64,
    /// Of these, the ones that are in Parquet.
    sealed: u64,
}

impl Windows {
    pub(crate) fn new(sealed: u64) -> Self {
        Self { pending: BTreeMap::new(), settled: sealed, sealed }
    }

    /// Takes a window or a part of one. False if it is in Parquet already (replay after a restart).
    pub(crate) fn observe(&mut self, window: Arc<ScoredWindow>) -> bool {
        let at = window.features.at.0;
        if at <= self.sealed {
            return false;
        }
        self.pending.entry(at).or_default().push(window);
        true
    }

    /// Windows that end at or before `at` are final.
    pub(crate) fn settle(&mut self, at: UnixNanos) {
        self.settled = self.settled.max(at.0);
    }

    /// Up to where the windows are final; more than what is in Parquet if there is work.
    pub(crate) fn settled(&self) -> u64 {
        self.settled
    }

    /// Forgets windows that Parquet holds now.
    pub(crate) fn forget(&mut self, sealed: u64) {
        self.sealed = self.sealed.max(sealed);
        self.settled = self.settled.max(sealed);
        self.pending = self.pending.split_off(&self.sealed.saturating_add(1));
    }

    /// Windows that end at or before `through`, oldest first.
    pub(crate) fn through(&self, through: u64) -> Vec<WindowParts> {
        self.pending.range(..=through).map(|(_, parts)| parts.clone()).collect()
    }

    /// All parts as bytes for the snapshot.
    pub(crate) fn save(&self, sink: &mut dyn io::Write) -> io::Result<()> {
        let parts: Vec<&ScoredWindow> = self.pending.values().flatten().map(|part| &**part).collect();
        postcard::to_io(&(self.settled, parts), sink).map(drop).map_err(io::Error::other)
    }

    /// Takes back what `save` gave.
    pub(crate) fn restore(&mut self, bytes: &[u8]) -> Result<(), postcard::Error> {
        let (settled, parts): (u64, Vec<ScoredWindow>) = postcard::from_bytes(bytes)?;
        self.settle(UnixNanos(settled));
        for part in parts {
            self.observe(Arc::new(part));
        }
        Ok(())
    }
}

/// Gives the rows of a window as it holds, one a series: the newest that came of it.
pub(crate) fn newest<E>(parts: &[Arc<ScoredWindow>], take: &mut impl FnMut(WindowRow) -> Result<(), E>) -> Result<(), E> {
    let keys = |(at, part): (usize, &Arc<ScoredWindow>)| part.features.keys.iter().map(|key| (*key, at)).collect::<Vec<_>>();
    // Only what late rows have changed is looked up: mostly nothing.
    let amended: HashMap<SeriesKey, usize> = parts.iter().enumerate().skip(1).flat_map(keys).collect();
    for (at, part) in parts.iter().enumerate() {
        for (row, key) in part.features.keys.iter().enumerate() {
            if amended.is_empty() || amended.get(key).copied().unwrap_or(0) == at {
                take((part.clone(), row))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use geophone_proto::feature::FeatureFrame;

    fn window(at: u64, keys: &[u128], raw: f32) -> Arc<ScoredWindow> {
        let keys: Vec<SeriesKey> = keys.iter().copied().map(SeriesKey).collect();
        let n = keys.len();
        let features = FeatureFrame { at: UnixNanos(at), width: 1, keys, x: vec![raw; n] };
        Arc::new(ScoredWindow { features, raw: vec![raw; n], score: vec![raw; n], ..ScoredWindow::default() })
    }

    fn seen(windows: &Windows) -> Vec<(u64, u128, f32)> {
        let mut seen = Vec::new();
        let mut take = |(part, row): WindowRow| {
            seen.push((part.features.at.0, part.features.keys[row].0, part.raw[row]));
            Ok::<(), ()>(())
        };
        windows.through(u64::MAX).iter().try_for_each(|parts| newest(parts, &mut take)).expect("it takes all");
        seen
    }

    #[test]
    fn an_amended_series_replaces_its_row_and_leaves_the_others() {
        let mut windows = Windows::new(0);
        windows.observe(window(10, &[1, 2], 0.5));
        windows.observe(window(10, &[2], 0.75));
        assert_eq!(seen(&windows), [(10, 1, 0.5), (10, 2, 0.75)]);
    }

    #[test]
    fn what_is_sealed_is_not_taken_again() {
        let mut windows = Windows::new(0);
        windows.observe(window(10, &[1], 0.5));
        windows.observe(window(20, &[1], 0.5));
        windows.settle(UnixNanos(10));
        windows.forget(10);
        assert!(!windows.observe(window(10, &[1], 0.5)));
        assert_eq!(seen(&windows), [(20, 1, 0.5)]);
    }

    #[test]
    fn bytes_restore_what_is_pending() {
        let mut windows = Windows::new(0);
        windows.observe(window(10, &[1, 2], f32::NAN));
        windows.settle(UnixNanos(5));
        let mut other = Windows::new(0);
        let mut bytes = Vec::new();
        windows.save(&mut bytes).expect("memory takes all");
        other.restore(&bytes).expect("it decodes");
        assert_eq!(seen(&other).len(), 2);
        assert_eq!(other.settled(), 5);
    }
}
