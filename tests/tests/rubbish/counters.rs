//! `/metrics` as numbers, and the memory of the process.

use geophone_tests::server::Server;
use std::fs;

/// All samples of a moment.
pub struct Counters(Vec<(String, f64)>);

impl Counters {
    pub fn of(server: &Server) -> Self {
        let text = server.text("/metrics");
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.rsplit_once(' '));
        Self(samples.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// Sum of all samples of this metric whose labels contain all of these texts.
    pub fn sum(&self, metric: &str, labels: &[&str]) -> f64 {
        let named = self.0.iter().filter(|(name, _)| name.split('{').next() == Some(metric));
        named.filter(|(name, _)| labels.iter().all(|label| name.contains(label))).map(|(_, value)| value).sum()
    }
}

/// Memory that a process holds, bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}
