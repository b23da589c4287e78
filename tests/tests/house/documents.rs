//! READMEs that a newcomer can rely on.

use geophone_tests::place;
use std::{fs, path::Path};

const ROOMS: &[&str] = &[
    "proto",
    "ingest",
    "models",
    "profiler-ebpf",
    "client",
    "thread-context",
    "analytics/engine",
    "analytics/store",
    "analytics/service",
    "tests",
    "notebooks",
    "xtask",
];
const HEADINGS: &[&str] = &["What it is for", "Picture", "Types", "How to change it", "Limits", "Decisions"];

/// Guarantees: each room says what it is for, how to change it, and what was decided.
#[test]
fn every_room_has_a_readme() {
    let mut wrong = Vec::new();
    for room in ROOMS {
        let path = place::repository().join(room).join("README.md");
        let Ok(text) = fs::read_to_string(&path) else {
            wrong.push(format!("{room} has no README.md"));
            continue;
        };
        wrong.extend(
            HEADINGS.iter().filter(|heading| !text.contains(**heading)).map(|heading| format!("{room}/README.md lacks `{heading}`")),
        );
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Guarantees: links between documents of the repository lead somewhere.
#[test]
fn links_lead_somewhere() {
    let mut wrong = Vec::new();
    let root = place::repository();
    let documents = ROOMS.iter().map(|room| root.join(room).join("README.md")).chain([root.join("README.md"), root.join("CHANGELOG.md")]);
    for path in documents {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let folder = path.parent().unwrap_or(Path::new("."));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") && !folder.join(target).exists() {
                wrong.push(format!("{}: `{link}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "dead links:\n{}", wrong.join("\n"));
}
