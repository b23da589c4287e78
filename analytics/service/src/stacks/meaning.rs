//! What a row of `profiles` says in time: the state that its type stands for, and when how much of it was seen.

use geophone_proto::stacks::ThreadState;

/// What one observation stands for where a profile counts samples and does not say: about 100 a second.
const PERIOD_NS: u64 = 10_000_000;
/// A sample without times may lie anywhere in its profile: it is spread over as many parts.
const PARTS_MAX: u64 = 64;
/// Parts are no shorter.
const PART_NS_MIN: u64 = 1_000_000;

/// Type and unit of a profile's values, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    /// Doing what.
    pub state: ThreadState,
    /// Nanoseconds that a value of one stands for.
    pub factor_ns: u64,
}

impl Meaning {
    /// None where the values are no time of threads: bytes, objects, probes.
    pub fn of(kind: &str, unit: &str, period_ns: u64) -> Option<Self> {
        let time = match unit {
            "nanoseconds" | "ns" => Some(1),
            "microseconds" | "us" => Some(1_000),
            "milliseconds" | "ms" => Some(1_000_000),
            "seconds" | "s" => Some(1_000_000_000),
            _ => None,
        };
        let is_count = matches!(unit, "count" | "" | "1" | "samples" | "{sample}");
        let sampled = is_count.then_some(if period_ns == 0 { PERIOD_NS } else { period_ns });
        let (state, factor_ns) = match kind {
            "cpu" | "on_cpu" | "samples" | "sample" | "itimer" | "" => (ThreadState::OnCpu, time.or(sampled)?),
            // The OpenTelemetry profiler's word for time off the CPU, in its first versions.
            "events" => (ThreadState::Blocked, time?),
            "off_cpu" | "off-cpu" | "offcpu" | "blocked" | "block" | "delay" | "lock" | "mutex" | "sleep" => (ThreadState::Blocked, time?),
            "waiting" | "run_queue" | "runqueue" | "sched" => (ThreadState::Waiting, time?),
            _ => return None,
        };
        Some(Self { state, factor_ns })
    }

    /// Nanoseconds of a value.
    pub fn weight_ns(self, value: i64) -> u64 {
        u64::try_from(value).unwrap_or(0).saturating_mul(self.factor_ns)
    }
}

/// When a row was seen, and how long each time, in nanoseconds. `observations` is the column of that name.
pub fn moments(meaning: Meaning, value: i64, (time_ns, duration_ns): (u64, u64), observations: &str) -> Vec<(u64, u64)> {
    let listed: Vec<(u64, i64)> = serde_json::from_str(observations).unwrap_or_default();
    if !listed.is_empty() {
        return listed.into_iter().map(|(at, value)| (at, meaning.weight_ns(value))).filter(|(_, weight)| *weight > 0).collect();
    }
    let whole = meaning.weight_ns(value);
    let parts = (duration_ns / PART_NS_MIN).clamp(1, PARTS_MAX).min(whole);
    let share = |part: u64| whole / parts + u64::from(part < whole % parts);
    (0..parts).map(|part| (time_ns + duration_ns * (2 * part + 1) / (2 * parts), share(part))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_time_of_threads_or_nothing() {
        let of = |kind, unit, period| Meaning::of(kind, unit, period).map(|meaning| (meaning.state, meaning.factor_ns));
        assert_eq!(of("cpu", "nanoseconds", 0), Some((ThreadState::OnCpu, 1)));
        assert_eq!(of("samples", "count", 50_000_000), Some((ThreadState::OnCpu, 50_000_000)));
        assert_eq!(of("samples", "count", 0), Some((ThreadState::OnCpu, PERIOD_NS)));
        assert_eq!(of("events", "nanoseconds", 0), Some((ThreadState::Blocked, 1)));
        assert_eq!(of("off_cpu", "milliseconds", 9), Some((ThreadState::Blocked, 1_000_000)));
        for (kind, unit) in
            [("alloc_space", "bytes"), ("events", "count"), ("goroutine", "count"), ("cpu", "bytes"), ("wall", "nanoseconds")]
        {
            assert_eq!(of(kind, unit, 1), None, "{kind} {unit}");
        }
    }

    #[test]
    fn nothing_is_lost_and_nothing_added() {
        let cpu = Meaning { state: ThreadState::OnCpu, factor_ns: 1 };
        assert_eq!(moments(cpu, 11, (70, 0), "[[70,5],[80,6],[90,0]]"), [(70, 5), (80, 6)]);
        let spread = moments(cpu, 1_000, (5_000_000, 10_000_000), "");
        assert_eq!((spread.len(), spread.iter().map(|(_, weight)| weight).sum::<u64>()), (10, 1_000));
        assert!(spread.iter().all(|(at, _)| (5_000_000..15_000_000).contains(at)), "{spread:?}");
        assert_eq!(moments(cpu, 3, (5, 1 << 40), "").len(), 3);
        assert_eq!(moments(cpu, 9, (5, 0), "rubbish"), [(5, 9)]);
        assert!(moments(cpu, 0, (5, 0), "").is_empty() && moments(cpu, -4, (5, 1 << 40), "").is_empty());
    }
}
