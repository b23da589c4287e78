//! Who may see whom.

use cargo_metadata::{DependencyKind, MetadataCommand};
use geophone_tests::place;

/// Floor of each room; a room sees only lower floors. The lab and the roof see all.
const FLOORS: &[(&str, u8)] = &[
    ("geophone-proto", 0),
    ("geophone-ingest", 1),
    ("geophone-models", 1),
    ("geophone-profiler-ebpf", 1),
    ("geophone-store", 1),
    ("geophone-client", 1),
    // Published for users, and linked by the profiler's tests: it knows nothing of the house.
    ("geophone-thread-context", 0),
    ("geophone-engine", 2),
    ("geophone-service", 3),
    ("geophone-tests", 4),
    ("geophone-xtask", 0),
];

/// The brain sees contracts only, although it stands above floor one.
const SEES_ONLY_GROUND: &[&str] = &["geophone-engine"];

/// Scenario: every dependency between rooms, dev dependencies included, as cargo resolves it.
/// Guarantees: no edge to the same floor or up, the brain sees the ground only, no room is unlisted.
#[test]
fn rooms_see_only_lower_floors() {
    let metadata = MetadataCommand::new().current_dir(place::repository()).no_deps().exec().expect("cargo metadata runs in the repository");
    let floor = |name: &str| FLOORS.iter().find(|(room, _)| *room == name).map(|(_, floor)| *floor);
    let mut wrong = Vec::new();
    for room in &metadata.packages {
        let Some(own) = floor(&room.name) else {
            wrong.push(format!("`{}` stands on no floor: add it to FLOORS", room.name));
            continue;
        };
        for seen in &room.dependencies {
            let Some(other) = floor(&seen.name) else { continue };
            let up = other >= own && own < 3;
            let through_floor = SEES_ONLY_GROUND.contains(&room.name.as_str()) && other > 0;
            if up || through_floor || (own == 3 && other > 3) {
                let how = if seen.kind == DependencyKind::Development { "tests of " } else { "" };
                wrong.push(format!("{how}`{}` must not see `{}`", room.name, seen.name));
            }
        }
    }
    assert!(wrong.is_empty(), "forbidden edges:\n{}", wrong.join("\n"));
}
