//! Names of code that a runtime made in memory, as it writes them for profilers: `/tmp/perf-PID.map`.

use std::fs;

/// Larger files are read up to here.
const LINES_MAX: usize = 2_000_000;

/// Ranges with names, by address.
#[derive(Debug, Default)]
pub struct PerfMap {
    ranges: Vec<(u64, u64, String)>,
}

impl PerfMap {
    /// Reads the map that a process wrote within its own root, under its own number there.
    pub fn read(pid: u32, own_pid: u32) -> Self {
        let text = fs::read(format!("/proc/{pid}/root/tmp/perf-{own_pid}.map")).unwrap_or_default();
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Self {
        let range = |line: &str| {
            let mut parts = line.splitn(3, ' ');
            let from = u64::from_str_radix(parts.next()?.trim_start_matches("0x"), 16).ok()?;
            let size = u64::from_str_radix(parts.next()?.trim_start_matches("0x"), 16).ok()?;
            Some((from, from.checked_add(size)?, parts.next()?.trim().to_owned()))
        };
        let mut ranges: Vec<_> = text.lines().take(LINES_MAX).filter_map(range).collect();
        // Code is made anew at the same place: the later line holds.
        ranges.reverse();
        ranges.sort_by_key(|(from, ..)| *from);
        ranges.dedup_by_key(|(from, ..)| *from);
        Self { ranges }
    }

    /// The name of the code at an address.
    pub fn name(&self, address: u64) -> Option<&str> {
        let after = self.ranges.partition_point(|(from, ..)| *from <= address);
        let (_, to, name) = self.ranges.get(after.checked_sub(1)?)?;
        (address < *to).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_line_of_a_place_holds() {
        let map = PerfMap::parse("7f00 10 py::old:/a.py\nrubbish\n7f00 20 py::hot:/a b.py\n8000 8 py::other\n");
        assert_eq!(map.name(0x7f1f), Some("py::hot:/a b.py"));
        assert_eq!(map.name(0x7f20), None);
        assert_eq!(map.name(0x8000), Some("py::other"));
        assert_eq!(PerfMap::parse("").name(1), None);
    }
}
