//! `/proc/PID/maps`, as much of it as addresses need.

use std::fs;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// First address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
    /// Where in the file it begins.
    pub offset: u64,
    /// Whether code may run there.
    pub is_executable: bool,
    /// Device and inode; inode 0 = no file.
    pub file: (u64, u64),
    /// Path, or a name in brackets, or empty.
    pub path: String,
}

/// Mappings of a process by address; empty where it is gone or hidden from us.
pub fn read_mappings(pid: u32) -> Vec<Mapping> {
    fs::read_to_string(format!("/proc/{pid}/maps")).map(|text| text.lines().filter_map(mapping).collect()).unwrap_or_default()
}

fn mapping(line: &str) -> Option<Mapping> {
    let mut parts = line.splitn(6, ' ');
    let (start, end) = parts.next()?.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let rights = parts.next()?;
    let offset = hex(parts.next()?)?;
    let (major, minor) = parts.next()?.split_once(':')?;
    let device = hex(major)? << 32 | hex(minor)?;
    let inode = parts.next()?.parse().ok()?;
    let path = parts.next().unwrap_or_default().trim();
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    Some(Mapping {
        start: hex(start)?,
        end: hex(end)?,
        offset,
        is_executable: rights.as_bytes().get(2) == Some(&b'x'),
        file: (device, inode),
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_and_without_a_file() {
        let line = "7f1c2a000000-7f1c2a021000 r-xp 00002000 08:01 1311 /usr/lib/a b.so (deleted)";
        let expected = Mapping {
            start: 0x7f1c_2a00_0000,
            end: 0x7f1c_2a02_1000,
            offset: 0x2000,
            is_executable: true,
            file: (8 << 32 | 1, 1311),
            path: "/usr/lib/a b.so".into(),
        };
        assert_eq!(mapping(line), Some(expected));
        let anonymous = mapping("7ffd0000-7ffe0000 rw-p 00000000 00:00 0 ").expect("a mapping");
        assert_eq!((anonymous.path.as_str(), anonymous.is_executable), ("", false));
        assert_eq!(mapping("rubbish"), None);
    }
}
