//! The sample data of the lab: a small shop's forty minutes with two faults, as files.
//!
//! Called by the example `shop_files` for `cargo xtask demo-data`, and by the test that the committed
//! files are what comes out. The same seed gives the same bytes.

use super::{
    draw::Draw,
    files::{ExportError, FileFormat, FileReport, export_shop},
    floor::Floor,
    schedule::{FaultKind, Schedule, fault, nanos},
    simulation::Shop,
};
use geophone_proto::time::UnixNanos;
use std::path::Path;

/// Customers, as a share of the demo's: the files lie in the repository.
const TRAFFIC: f64 = 0.22;
/// Undisturbed traffic before the first fault, seconds.
const WARM_UP_S: f64 = 1_200.0;
/// Length of a fault.
const FAULT_S: f64 = 240.0;
/// Calm after a fault.
const CALM_S: f64 = 360.0;

/// Writes the sample data of a seed: a slow dependency, then an error burst.
pub fn export_sample(dir: &Path, seed: u64, start: UnixNanos) -> Result<(Schedule, FileReport), ExportError> {
    let mut shop = Shop::new(seed, start, &Schedule::quiet(seed, start, 0.0)).with_traffic(TRAFFIC);
    let schedule = schedule(seed, start, shop.floor());
    shop.add(&schedule);
    let report = export_shop(dir, FileFormat::ProtobufZstd, &schedule, shop)?;
    Ok((schedule, report))
}

fn schedule(seed: u64, start: UnixNanos, floor: &Floor) -> Schedule {
    let mut draw = Draw::new(seed, 2);
    let mut schedule = Schedule::quiet(seed, start, WARM_UP_S);
    for kind in [FaultKind::SlowDependency, FaultKind::ErrorBurst] {
        let from = schedule.end;
        let to = from.plus(nanos(FAULT_S));
        let used: Vec<String> = schedule.faults.iter().map(|fault| fault.service.clone()).collect();
        schedule.faults.push(fault(kind, (from, to), floor, &used, &mut draw));
        schedule.end = to.plus(nanos(CALM_S));
    }
    schedule
}
