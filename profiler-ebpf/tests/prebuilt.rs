//! The embedded object is the one that the sources give. Needs no clang and no privileges.

use std::{fs, path::Path, process::Command};

// Scenario: somebody edits `bpf/` and forgets `build.sh`, or commits an object that was built from other sources.
// Guarantees: every hash in the manifest is that of the file it names, and it names every source.
#[test]
fn the_manifest_holds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("prebuilt/MANIFEST")).expect("the manifest is committed");
    let mut named: Vec<String> = Vec::new();
    for line in manifest.lines().filter(|line| !line.starts_with('#')) {
        let (expected, path) = line.split_once("  ").unwrap_or_else(|| panic!("`{line}` is no line of sha256sum"));
        let output = Command::new("sha256sum").arg(root.join(path)).output().expect("coreutils are there");
        let found = String::from_utf8(output.stdout).expect("text");
        assert!(found.starts_with(expected), "{path} has changed since prebuilt/ was made: run profiler-ebpf/build.sh");
        named.push(path.to_owned());
    }
    let mut sources: Vec<String> = fs::read_dir(root.join("bpf"))
        .expect("the sources are there")
        .map(|entry| format!("bpf/{}", entry.expect("readable").file_name().to_string_lossy()))
        .collect();
    sources.push("prebuilt/recorder.bpf.o".into());
    sources.sort();
    named.sort();
    assert_eq!(named, sources);
}
