//! Writes a day of the simulated shop as files that `geophone replay` and the Collector can read.
//! `sample` writes the small sample data of the lab, always as binpb.zst.
//!
//! `cargo run -p geophone-client --example shop_files -- DIR [SEED] [json|binpb|json.zst|binpb.zst] [quiet SECONDS | warm-up SECONDS | sample]`

use geophone_client::shop::{FileFormat, FileReport, Pace, Schedule, export_files, export_sample};
use geophone_proto::time::{SECOND_NS, UnixNanos};
use std::{
    error::Error,
    path::{Path, PathBuf},
};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |place: usize| args.get(place).map(String::as_str);
    let dir = PathBuf::from(arg(0).ok_or("name a folder to write to, e.g. `-- /tmp/shop 1 binpb`")?);
    let seed: u64 = arg(1).unwrap_or("1").parse()?;
    let format = match arg(2).unwrap_or("json") {
        "binpb" => FileFormat::Protobuf,
        "json.zst" => FileFormat::JsonLinesZstd,
        "binpb.zst" => FileFormat::ProtobufZstd,
        _ => FileFormat::JsonLines,
    };
    let start = UnixNanos(1_767_261_600 * SECOND_NS);
    if arg(3) == Some("sample") {
        let (schedule, report) = export_sample(&dir, seed, start)?;
        tell(&dir, &schedule, &report);
        return Ok(());
    }
    let schedule = match (arg(3), arg(4)) {
        (Some("quiet"), seconds) => Schedule::quiet(seed, start, seconds.unwrap_or("3600").parse()?),
        (Some("warm-up"), Some(seconds)) => Schedule::seeded(seed, start, &Pace { warm_up_s: seconds.parse()?, ..Pace::default() }),
        _ => Schedule::seeded(seed, start, &Pace::default()),
    };
    let report = export_files(&dir, format, &schedule)?;
    tell(&dir, &schedule, &report);
    Ok(())
}

fn tell(dir: &Path, schedule: &Schedule, report: &FileReport) {
    let minutes = schedule.end.since(schedule.start) / SECOND_NS / 60;
    eprintln!("{}: {minutes} minutes, {} requests, {} rows", dir.display(), report.requests, report.items);
    for fault in &schedule.faults {
        eprintln!("{} .. {} {:?} {} `{}` x{:.2}", fault.from, fault.to, fault.kind, fault.service, fault.operation, fault.strength);
    }
    for event in &schedule.harmless {
        eprintln!("{} .. {} {:?} {} (harmless)", event.from, event.to, event.kind, event.service);
    }
}
