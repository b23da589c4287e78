//! From series to feature rows, by the one definition: what the training script reads.
//!
//! stdin: CSV with a header. Either `series_id,timestamp,value[,label]` (a level, one reading a
//! window) or `series_id,timestamp,kind,n,s1,s2[,series_kind][,label]` with `kind` one of `count`,
//! `share`, `log_mean`, `level` and `series_kind` as in the API (which side is harmless). Rows of one
//! series stand together, in time order. stdout: `series_id,timestamp,<features>,raw,label`, `raw` by the
//! baseline. `zcat nab.csv.gz | cargo run -p geophone-engine --example features_csv > features.csv`

use geophone_engine::{
    Detector, Settings,
    detect::baseline::LargestDeviation,
    feature_schema,
    window::{ClosedWindow, Stat, StatKind, WindowRow},
};
use geophone_proto::{Series, SeriesKind, Tenant};
use std::{
    collections::BTreeMap,
    io::{self, BufRead, BufWriter, Write},
    time::Duration,
};

struct Table {
    columns: BTreeMap<String, usize>,
}

impl Table {
    fn field<'a>(&self, fields: &[&'a str], name: &str) -> Option<&'a str> {
        self.columns.get(name).and_then(|&at| fields.get(at).copied())
    }

    fn number(&self, fields: &[&str], name: &str) -> f64 {
        self.field(fields, name).and_then(|text| text.parse().ok()).unwrap_or(f64::NAN)
    }

    fn row(&self, fields: &[&str]) -> (StatKind, Stat, f64) {
        match self.field(fields, "kind") {
            None => {
                let value = self.number(fields, "value");
                (StatKind::Level, Stat { n: f64::from(u8::from(value.is_finite())), s1: value, s2: value * value }, value)
            }
            Some(kind) => {
                let stat = Stat { n: self.number(fields, "n"), s1: self.number(fields, "s1"), s2: self.number(fields, "s2") };
                let kind = match kind {
                    "count" => StatKind::Count,
                    "share" => StatKind::Share,
                    "log_mean" => StatKind::LogMean,
                    _ => StatKind::Level,
                };
                (kind, stat, if kind == StatKind::Count { stat.s1 } else { stat.s1 / stat.n })
            }
        }
    }
}

fn series_kind(text: Option<&str>) -> SeriesKind {
    text.and_then(|text| serde::Deserialize::deserialize(serde::de::value::StrDeserializer::<serde::de::value::Error>::new(text)).ok())
        .unwrap_or(SeriesKind::Value)
}

fn main() -> io::Result<()> {
    let mut lines = io::stdin().lock().lines();
    let header = lines.next().transpose()?.unwrap_or_default();
    let table = Table { columns: header.trim().split(',').enumerate().map(|(at, name)| (name.to_owned(), at)).collect() };
    let mut out = BufWriter::new(io::stdout().lock());
    writeln!(out, "series_id,timestamp,{},raw,label", feature_schema().names.join(","))?;
    let settings = Settings { allowed_lateness: Duration::ZERO, ..Settings::default() };
    let mut current = String::new();
    let mut detector = Detector::new(&settings, Box::new(LargestDeviation::default()));
    let mut windows = 0;
    for line in lines {
        let line = line?;
        let fields: Vec<&str> = line.trim_end().split(',').collect();
        let (kind, stat, shown) = table.row(&fields);
        let id = table.field(&fields, "series_id").unwrap_or_default();
        let seconds = table.number(&fields, "timestamp");
        if id != current {
            current = id.into();
            windows = 0;
            detector = Detector::new(&settings, Box::new(LargestDeviation::default()));
            let series = Series::new(Tenant::default(), "", id, series_kind(table.field(&fields, "series_kind")), BTreeMap::new());
            detector.series(0, &series, kind);
        }
        let start_ns = ((seconds * 1e9) as u64).max(windows);
        windows = start_ns + 1;
        let rows = vec![WindowRow { series: 0, stat, shown, exemplars: Vec::new() }];
        let scored = detector.window(&ClosedWindow { start_ns, length_ns: 1, amended: false, rows }).window;
        write!(out, "{id},{seconds}")?;
        for value in &scored.features.x {
            write!(out, ",{value}")?;
        }
        let raw = scored.raw.first().copied().unwrap_or(f32::NAN);
        writeln!(out, ",{raw},{}", table.field(&fields, "label").unwrap_or("0"))?;
    }
    out.flush()
}
