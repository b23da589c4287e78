//! Up to which event time the rows are complete. Driven by data; ticks only end silence.
//!
//! *Leader*: the newest event time that can be believed. A sender's clock is believed if it agrees
//! with the wall clock of its arrival; or, where most do not, if a third of the senders are about as far
//! (their clocks carried on to now at the stream's own speed). So a few clocks that run ahead lead
//! nobody, neither in live telemetry nor in hours-old telemetry, which no wall clock can check.
//! *Delay*: the largest 99th percentile of lateness among senders of spans and logs, clamped to
//! 1..15 s of wall clock, which is 1..15 s times the stream's speed in event time.
//! *Watermark* = leader - delay, never backwards; it goes past the leader only when nothing at all
//! has arrived for a delay and two windows, and then at the pace of the wall clock.
//! Invariant: a function of the batches and ticks, in their order.

use super::sender::Sender;
use crate::hash::FixedMap;
use geophone_proto::time::{SECOND_NS, UnixNanos};
use serde::{Deserialize, Serialize};

const DELAY_NS_MIN: u64 = SECOND_NS;
const DELAY_NS_MAX: u64 = 15 * SECOND_NS;
/// What SDKs need: they flush every 5 s. Taken until the stream is known.
const DELAY_NS_FIRST: u64 = 5 * SECOND_NS;
/// How long a stream is new, wall clock.
const NEW_NS: u64 = 30 * SECOND_NS;
/// Until so much wall clock or so many batches have passed, others are given the chance to speak.
const FIRST_NS: u64 = 2 * SECOND_NS;
const FIRST_BATCHES: u64 = 64;
/// A clock this close to its arrival is that of a live sender.
const LIVE_NS: u64 = 60 * SECOND_NS;
/// A live sender's clock may be so far ahead of ours.
const AHEAD_NS: u64 = 2 * SECOND_NS;
/// Senders tell the same time if they are no further apart.
const SLACK_NS: u64 = 30 * SECOND_NS;
/// Senders kept at most.
const SENDERS_MAX: usize = 8192;
/// Assumed speed of telemetry that is not live, until a second of wall clock has measured it.
const SPEED_FIRST: f64 = 60.0;
const SPEED_MAX: f64 = 100_000.0;

/// See the head of this file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Watermark {
    fixed_delay: Option<u64>,
    window_ns: u64,
    senders: FixedMap<u64, Sender>,
    /// Newest believed event time.
    leader: u64,
    /// Wall clock of the newest arrival; 0 before the first.
    heard: u64,
    first_heard: u64,
    watermark: u64,
    /// Event time that enough senders have reached.
    support: u64,
    /// What was learned, before clamping.
    learned: u64,
    batches_to_refresh: usize,
    batches: u64,
    /// Most senders agree with our clock.
    is_live: bool,
    /// Clocks of the batch at hand.
    batch_clocks: Vec<u64>,
    speed: f64,
    speed_known: bool,
    anchor: (u64, u64),
}

impl Watermark {
    /// Nothing seen yet. `fixed_delay` ends learning.
    pub fn new(window_ns: u64, fixed_delay: Option<u64>) -> Self {
        Self {
            fixed_delay,
            window_ns,
            senders: FixedMap::default(),
            leader: 0,
            heard: 0,
            first_heard: 0,
            watermark: 0,
            support: 0,
            learned: 0,
            batches_to_refresh: 0,
            batches: 0,
            is_live: false,
            batch_clocks: Vec::new(),
            speed: 1.0,
            speed_known: false,
            anchor: (0, 0),
        }
    }

    /// A sender's newest believable row in a batch that has just arrived. `prompt`: spans or logs.
    pub fn hear(&mut self, sender: u64, newest_ns: u64, at: UnixNanos, prompt: bool) {
        if self.heard == 0 {
            self.first_heard = at.0;
        }
        self.heard = self.heard.max(at.0);
        let key = sender ^ u64::from(prompt);
        if let Some(known) = self.senders.get_mut(&key) {
            known.hear(newest_ns, at.0);
        } else if self.senders.len() < SENDERS_MAX {
            self.senders.insert(key, Sender::new(newest_ns, at.0, prompt));
            if self.senders.len() <= 16 {
                self.batches_to_refresh = 0;
            }
        }
        self.batch_clocks.push(newest_ns);
    }

    /// All senders of the batch were heard: believes their clocks or not.
    pub fn lead(&mut self) {
        let mut clocks = std::mem::take(&mut self.batch_clocks);
        clocks.sort_unstable();
        for clock in clocks.drain(..).filter(|clock| *clock > self.leader).collect::<Vec<_>>() {
            if !self.believes(clock, self.heard) && self.batches_to_refresh == 0 {
                self.refresh();
            }
            if self.believes(clock, self.heard) {
                self.leader = self.leader.max(clock);
            }
        }
        self.batch_clocks = clocks;
    }

    /// Agrees with our clock; or, unless most others do, is not far ahead of enough others.
    fn believes(&self, clock: u64, heard: u64) -> bool {
        is_live(clock, heard) || !self.is_live && clock <= self.support.saturating_add(self.slack_ns())
    }

    fn slack_ns(&self) -> u64 {
        times(SLACK_NS, self.speed.min(SPEED_MAX))
    }

    /// Event time a second of wall clock, of what enough senders have reached.
    #[allow(clippy::cast_precision_loss, reason = "a ratio")]
    fn measure_speed(&mut self, now: u64, front: u64) {
        if self.anchor.0 == 0 {
            self.anchor = (now, front);
            self.speed = if now.saturating_sub(front) <= LIVE_NS { 1.0 } else { SPEED_FIRST };
            return;
        }
        let wall = now.saturating_sub(self.anchor.0);
        if wall < SECOND_NS {
            return;
        }
        let measured = (front.saturating_sub(self.anchor.1) as f64 / wall as f64).clamp(1.0, SPEED_MAX);
        self.speed = if self.speed_known { 0.7 * self.speed + 0.3 * measured } else { measured };
        self.speed_known = true;
        self.anchor = (now, front);
    }

    /// Tells how late rows of this sender are, once all senders of the batch were heard.
    pub fn lag(&mut self, sender: u64, at_ns: &[u64], prompt: bool) {
        let leader = self.leader;
        if let Some(known) = self.senders.get_mut(&(sender ^ u64::from(prompt))) {
            at_ns.iter().for_each(|at| known.lag(leader.saturating_sub(*at)));
        }
    }

    /// Looks at all senders: who is active, what enough of them have reached, how long to wait.
    /// O(senders), at most once in as many batches as an eighth of the senders.
    fn refresh(&mut self) {
        let now = self.heard;
        self.senders.retain(|_, sender| sender.is_active(now));
        self.batches_to_refresh = self.senders.len() / 8;
        // A process that sends spans and metrics is one voice.
        let prompt = self.senders.values().any(|sender| sender.prompt);
        let voices = || self.senders.values().filter(|sender| sender.prompt == prompt);
        let needed = voices().count().div_ceil(3).max(voices().count().min(2));
        self.is_live = voices().filter(|sender| is_live(sender.clock, sender.heard)).count() * 2 >= voices().count();
        let carried = |sender: &Sender, speed: f64| sender.clock + times(now.saturating_sub(sender.heard).min(LIVE_NS), speed);
        let mut clocks: Vec<u64> = voices().map(|sender| sender.clock).collect();
        let mut carried_on: Vec<u64> = voices().map(|sender| carried(sender, if self.speed_known { self.speed } else { 0.0 })).collect();
        if let Some(front) = nth_highest(&mut clocks, needed) {
            self.measure_speed(now, front);
        }
        self.support = nth_highest(&mut carried_on, needed).unwrap_or(self.support);
        let clocks = self.senders.values().filter(|sender| self.believes(sender.clock, sender.heard));
        let leader = clocks.map(|sender| sender.clock).max().unwrap_or(self.leader);
        if std::mem::replace(&mut self.leader, leader) > leader {
            // What was late behind a clock that nobody believes any more was not late.
            self.senders.values_mut().for_each(Sender::forget);
        }
        let hopeless = times(DELAY_NS_MAX, self.speed);
        let delay = |prompt: bool| {
            let group = self.senders.values().filter(|sender| sender.prompt == prompt && sender.usual_ns() <= hopeless);
            group.map(Sender::delay_ns).max()
        };
        self.learned = delay(true).or_else(|| delay(false)).unwrap_or(0);
    }

    /// Moves on after all rows of a batch have been taken.
    pub fn advance(&mut self) {
        match self.batches_to_refresh.checked_sub(1) {
            Some(left) => self.batches_to_refresh = left,
            None => self.refresh(),
        }
        self.batches += 1;
        let is_first = self.heard.saturating_sub(self.first_heard) < FIRST_NS && self.batches < FIRST_BATCHES;
        if !is_first || self.fixed_delay.is_some() {
            self.watermark = self.watermark.max(self.leader.saturating_sub(self.delay_ns()));
        }
    }

    /// Time has passed. Only silence moves the watermark here.
    pub fn tick(&mut self, now: UnixNanos) {
        let idle_ns = self.delay_ns().min(DELAY_NS_MAX) + 2 * self.window_ns;
        let silent_ns = now.0.saturating_sub(self.heard);
        if self.heard > 0 && self.leader > 0 && silent_ns >= idle_ns {
            self.watermark = self.watermark.max(self.leader.saturating_add(silent_ns - idle_ns));
        }
    }

    /// How long rows are waited for, in event time.
    pub fn delay_ns(&self) -> u64 {
        if let Some(fixed) = self.fixed_delay {
            return fixed;
        }
        let is_new = self.heard.saturating_sub(self.first_heard) < NEW_NS;
        let least = if is_new { DELAY_NS_FIRST } else { DELAY_NS_MIN };
        self.learned.clamp(least, times(DELAY_NS_MAX, self.speed))
    }

    /// Rows up to here are taken to be complete.
    pub const fn at(&self) -> u64 {
        self.watermark
    }

    /// How far the stream has come; the end of time once it is silent and nothing is expected any more.
    pub const fn expects_until(&self) -> u64 {
        if self.watermark > self.leader { u64::MAX } else { self.leader }
    }

    /// The newest believed event time; 0 before the first.
    pub const fn leader(&self) -> u64 {
        self.leader
    }
}

/// The value that so many are at least as high as.
fn nth_highest(values: &mut [u64], n: usize) -> Option<u64> {
    (n > 0 && n <= values.len()).then(|| *values.select_nth_unstable_by(n - 1, |a, b| b.cmp(a)).1)
}

const fn is_live(clock: u64, heard: u64) -> bool {
    clock <= heard.saturating_add(AHEAD_NS) && heard.saturating_sub(clock) <= LIVE_NS
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "durations far below 2^53 ns times a factor within 0..1e5; the cast saturates"
)]
fn times(ns: u64, factor: f64) -> u64 {
    (ns as f64 * factor) as u64
}
