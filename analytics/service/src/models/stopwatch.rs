//! How long a model takes for a window. Where the clock is read; the engine has none.

use geophone_proto::{
    UnixNanos,
    feature::FeatureFrame,
    model::ModelCard,
    seam::{Model, SeamError},
};
use serde::Serialize;
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Windows remembered.
const KEPT: usize = 256;
/// Windows looked at for slowness, and how many slow ones are too many.
const LOOKED_AT: (usize, usize) = (10, 3);

/// The last windows of one model: end, rows and time of each. A window of many series is several calls.
#[derive(Debug, Default)]
pub struct Stopwatch(Mutex<VecDeque<(UnixNanos, usize, Duration)>>);

/// How fast a model has been over its last windows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Windows looked at.
    pub calls: usize,
    /// Half of the windows took less, milliseconds.
    pub p50_ms: f64,
    /// All but one in a hundred took less, milliseconds.
    pub p99_ms: f64,
    /// A row took this on average, microseconds.
    pub row_us: f64,
}

impl Stopwatch {
    /// Notes a call about a window that ends at `at`.
    pub fn note(&self, at: UnixNanos, rows: usize, took: Duration) {
        let mut calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match calls.back_mut().filter(|last| last.0 == at) {
            Some(last) => *last = (at, last.1 + rows, last.2 + took),
            None => calls.push_back((at, rows, took)),
        }
        if calls.len() > KEPT {
            calls.pop_front();
        }
    }

    /// Begins anew.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The last windows, if there was any.
    pub fn latency(&self) -> Option<Latency> {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut times: Vec<Duration> = calls.iter().map(|call| call.2).collect();
        times.sort_unstable();
        let at = |share: f64| times.get(((times.len() as f64 - 1.0) * share).ceil() as usize).map(|time| time.as_secs_f64() * 1e3);
        let rows: usize = calls.iter().map(|call| call.1).sum();
        let sum: Duration = times.iter().sum();
        Some(Latency { calls: times.len(), p50_ms: at(0.5)?, p99_ms: at(0.99)?, row_us: sum.as_secs_f64() * 1e6 / rows.max(1) as f64 })
    }

    /// Why it is too slow, if it is: several of the newest windows took longer than `bound`.
    pub fn is_slow(&self, bound: Duration) -> Option<String> {
        let calls = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let slow = calls.iter().rev().take(LOOKED_AT.0).filter(|call| call.2 > bound);
        let count = slow.clone().count();
        let worst = slow.map(|call| call.2).max()?;
        let text = || {
            format!(
                "latency: {count} of its last {} windows took longer than {} ms, up to {} ms",
                LOOKED_AT.0,
                bound.as_millis(),
                worst.as_millis()
            )
        };
        (count >= LOOKED_AT.1).then(text)
    }

    /// The same model, timed.
    pub fn around(self: Arc<Self>, model: Box<dyn Model>) -> impl Model {
        Timed { model, watch: self }
    }
}

struct Timed {
    model: Box<dyn Model>,
    watch: Arc<Stopwatch>,
}

impl Model for Timed {
    fn card(&self) -> &ModelCard {
        self.model.card()
    }

    fn score(&mut self, frame: &FeatureFrame, scores: &mut Vec<f32>) -> Result<(), SeamError> {
        let started = Instant::now();
        let answer = self.model.score(frame, scores);
        self.watch.note(frame.at, frame.len(), started.elapsed());
        answer
    }
}
