//! The nezha cases: two shops of services with injected faults, spans, logs and pod metrics.
//!
//! A case has at most three minutes of spans around its injection. Before them the story gets what is
//! normal: the rows of all cases of the day from before their injections, laid back to back, and the
//! pod metrics of minutes that are far from any fault. So every case begins with about ten quiet minutes.

use super::{
    Story, Truth,
    otlp::{self, GaugeRow, LogRow, Rows, SpanRow},
    table::Table,
};
use geophone_proto::time::SECOND_NS;
use std::path::{Path, PathBuf};

/// Nothing is known of when a fault ends; it lasts a few minutes.
const FAULT_NS: u64 = 300 * SECOND_NS;
/// Minutes of metrics are normal if they are this far from what follows an injection.
const AFTER_NS: u64 = 480 * SECOND_NS;
/// Metrics of the fault that a case is given.
const METRICS_NS: u64 = 240 * SECOND_NS;
const MINUTE_NS: u64 = 60 * SECOND_NS;
/// Rows of logs with impossible times are bad input, and stay in.
const SANE_NS: u64 = 1_000_000_000 * SECOND_NS;

/// One injected fault with all its rows.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// The system.
    pub system: String,
    /// The day.
    pub day: String,
    /// When the fault was injected.
    pub inject_ns: u64,
    /// Who caused it.
    pub cause: String,
    /// What was done.
    pub fault: String,
    /// Spans and logs.
    pub rows: Rows,
}

impl Case {
    fn first_ns(&self) -> Option<u64> {
        self.rows.spans.iter().map(|row| row.start_ns).min()
    }

    fn last_ns(&self) -> Option<u64> {
        self.rows.spans.iter().map(SpanRow::end_ns).max()
    }
}

/// One day of one system.
#[derive(Clone, Debug)]
pub struct Day {
    /// Its cases in order of time.
    pub cases: Vec<Case>,
    /// The fault-free minute, if there is one.
    pub quiet: Rows,
    /// Pod metrics of the whole day.
    pub gauges: Vec<GaugeRow>,
}

fn path(folder: &Path, name: String) -> Option<PathBuf> {
    let path = folder.join(name);
    path.is_file().then_some(path)
}

/// Traces of different files must not be taken for one: the file's number goes into the upper half.
const fn trace(file: u64, number: u64) -> u64 {
    if number == 0 { 0 } else { file << 40 | number }
}

fn spans(path: &Path, file: u64) -> Result<Vec<SpanRow>, String> {
    let table = Table::read(path)?;
    let row = |row: super::table::Row<'_>| SpanRow {
        trace: trace(file, row.number("trace_id")),
        span: row.number("span_id"),
        parent: row.number("parent_id"),
        service: row.text("service").to_owned(),
        operation: row.text("operation").to_owned(),
        start_ns: row.number("start_ns"),
        duration_ns: row.number("duration_ns"),
    };
    Ok(table.rows().map(row).collect())
}

fn logs(path: &Path, file: u64) -> Result<Vec<LogRow>, String> {
    let table = Table::read(path)?;
    let row = |row: super::table::Row<'_>| LogRow {
        at_ns: row.number("time_ns"),
        service: row.text("service").to_owned(),
        trace: trace(file, row.number("trace_id")),
        body: row.text("body").to_owned(),
    };
    Ok(table.rows().map(row).collect())
}

fn gauges(path: &Path) -> Result<Vec<GaugeRow>, String> {
    let table = Table::read(path)?;
    let mut gauges = Vec::new();
    for row in table.rows() {
        let at_ns = row.number("timestamp") * SECOND_NS;
        for (column, name) in table.names.iter().enumerate().skip(2) {
            if let Ok(value) = row.at(column).parse() {
                let service = row.text("service").to_owned();
                gauges.push(GaugeRow { at_ns, service, name: name.clone(), attributes: Vec::new(), value });
            }
        }
    }
    Ok(gauges)
}

/// Reads all days of the data set.
pub fn read(datasets: &Path) -> Result<Vec<Day>, String> {
    let folder = datasets.join("nezha");
    let faults = Table::read(&folder.join("faults.csv"))?;
    let mut days: Vec<Day> = Vec::new();
    for (number, row) in faults.rows().enumerate() {
        let (id, day) = (row.text("case_id").to_owned(), row.text("day").to_owned());
        let file = number as u64 + 2;
        let mut rows = Rows::default();
        if let Some(path) = path(&folder, format!("spans/{id}.csv.gz")) {
            rows.spans = spans(&path, file)?;
        }
        if let Some(path) = path(&folder, format!("logs/{id}.csv.gz")) {
            rows.logs = logs(&path, file)?;
        }
        if days.last().is_none_or(|last| last.cases.last().is_none_or(|case| case.day != day)) {
            let quiet = path(&folder, format!("spans/normal-{day}.csv.gz")).map_or(Ok(Vec::new()), |path| spans(&path, 1))?;
            let gauges = path(&folder, format!("metrics_{day}.csv.gz")).map_or(Ok(Vec::new()), |path| gauges(&path))?;
            days.push(Day { cases: Vec::new(), quiet: Rows { spans: quiet, ..Rows::default() }, gauges });
        }
        let case = Case {
            id,
            system: row.text("system").to_owned(),
            day,
            inject_ns: row.number("inject_ts") * SECOND_NS,
            cause: row.text("root_cause_service").to_owned(),
            fault: row.text("fault_type").to_owned(),
            rows,
        };
        if let Some(day) = days.last_mut() {
            day.cases.push(case);
        }
    }
    Ok(days)
}

/// Rows that ended before `until`, moved by `by` nanoseconds.
pub(super) fn moved(rows: &Rows, until: u64, by: i64) -> Rows {
    let to = |at: u64| at.saturating_add_signed(by);
    let spans = rows.spans.iter().filter(|row| row.end_ns() < until);
    let logs = rows.logs.iter().filter(|row| row.at_ns < until && row.at_ns > SANE_NS);
    Rows {
        spans: spans.map(|row| SpanRow { start_ns: to(row.start_ns), ..row.clone() }).collect(),
        logs: logs.map(|row| LogRow { at_ns: to(row.at_ns), ..row.clone() }).collect(),
        gauges: Vec::new(),
    }
}

/// Sorts moments by how near they are to another: those before it first.
const fn nearness(moment: u64, to: u64) -> (bool, u64) {
    (moment >= to, moment.abs_diff(to))
}

impl Day {
    /// Spells of normal rows, each with its bounds.
    pub(super) fn spells(&self) -> Vec<(&Rows, u64, u64)> {
        let mut spells = Vec::new();
        if let (Some(from), Some(to)) =
            (self.quiet.spans.iter().map(|row| row.start_ns).min(), self.quiet.spans.iter().map(|row| row.start_ns).max())
        {
            spells.push((&self.quiet, from, to));
        }
        for case in &self.cases {
            if let Some(from) = case.first_ns().filter(|from| *from + 5 * SECOND_NS < case.inject_ns) {
                spells.push((&case.rows, from, case.inject_ns));
            }
        }
        spells
    }

    /// Times of the metrics, fault-free ones only.
    fn calm_minutes(&self) -> Vec<u64> {
        let mut minutes: Vec<u64> = self.gauges.iter().map(|row| row.at_ns / MINUTE_NS).collect();
        minutes.sort_unstable();
        minutes.dedup();
        let near = |minute: u64, case: &Case| {
            let at = minute * MINUTE_NS;
            at + MINUTE_NS > case.inject_ns && at < case.inject_ns + AFTER_NS
        };
        minutes.retain(|minute| !self.cases.iter().any(|case| near(*minute, case)));
        minutes
    }

    /// A case as `geophone replay` gets it.
    pub fn story(&self, at: usize) -> Story {
        let case = &self.cases[at];
        let start = case.first_ns().unwrap_or(case.inject_ns / MINUTE_NS * MINUTE_NS);
        let mut rows = case.rows.clone();
        let mut before = start;
        if !case.rows.spans.is_empty() {
            let mut spells: Vec<_> = self.spells().into_iter().filter(|(spell, ..)| !std::ptr::eq(*spell, &case.rows)).collect();
            // The nearest in time last, those from before the case after those from later on.
            spells.sort_by_key(|(_, from, _)| std::cmp::Reverse(nearness(*from, start)));
            for (spell, from, to) in spells.into_iter().rev() {
                let length = to - from;
                let by = i64::try_from(before - length).unwrap_or(0) - i64::try_from(from).unwrap_or(0);
                let part = moved(spell, to, by);
                rows.spans.extend(part.spans);
                rows.logs.extend(part.logs);
                before -= length;
            }
        }
        let last = case.last_ns().unwrap_or(0).max(case.inject_ns + METRICS_NS);
        let calm = self.calm_minutes();
        let own_from = start.min(case.inject_ns) / MINUTE_NS;
        let wanted = if rows.spans.is_empty() { 60 } else { (start - before) / MINUTE_NS + 1 };
        let mut taken: Vec<u64> = calm.to_vec();
        taken.sort_by_key(|minute| nearness(*minute, own_from));
        taken.truncate(usize::try_from(wanted).unwrap_or(0));
        for row in &self.gauges {
            let minute = row.at_ns / MINUTE_NS;
            if minute >= own_from && row.at_ns <= last {
                rows.gauges.push(row.clone());
            }
            if let Some(ago) = taken.iter().position(|calm| *calm == minute) {
                let at_ns = (own_from - 1 - ago as u64) * MINUTE_NS + row.at_ns % MINUTE_NS;
                rows.gauges.push(GaugeRow { at_ns, ..row.clone() });
            }
        }
        let truth = self.truth(at);
        let quiet_s = wanted as f64 * 60.0;
        Story { truth, requests: otlp::requests(rows), quiet_s }
    }

    /// What is known of a case.
    pub fn truth(&self, at: usize) -> Truth {
        let case = &self.cases[at];
        Truth {
            case: case.id.clone(),
            system: case.system.clone(),
            cause: case.cause.clone(),
            fault: case.fault.clone(),
            from_ns: case.inject_ns,
            to_ns: case.inject_ns + FAULT_NS,
        }
    }

    /// The whole day in its own time, gaps included, and its cases.
    pub fn whole(&self) -> (Vec<otlp::Sent>, Vec<Truth>) {
        let mut rows = Rows { gauges: self.gauges.clone(), ..self.quiet.clone() };
        for case in &self.cases {
            rows.spans.extend(case.rows.spans.iter().cloned());
            rows.logs.extend(case.rows.logs.iter().cloned());
        }
        (otlp::requests(rows), (0..self.cases.len()).map(|at| self.truth(at)).collect())
    }

    /// The fault-free hours: pod metrics of the longest stretch far from any fault. Every incident is false.
    pub fn quiet_story(&self) -> Story {
        let last = self.cases.iter().map(|case| case.inject_ns).max().unwrap_or(0) + AFTER_NS;
        let gauges: Vec<GaugeRow> = self.gauges.iter().filter(|row| row.at_ns >= last).cloned().collect();
        let requests = otlp::requests(Rows { gauges, ..Rows::default() });
        let (first, end) = (requests.first().map_or(0, |sent| sent.at.0), requests.last().map_or(0, |sent| sent.at.0));
        let system = self.cases.first().map_or("", |case| &case.system);
        let truth = Truth {
            case: format!("{system}-quiet"),
            system: format!("{system}, fault-free {:.1} h", end.saturating_sub(first) as f64 / 3.6e12),
            cause: String::new(),
            fault: "none".into(),
            from_ns: u64::MAX,
            to_ns: u64::MAX,
        };
        Story { truth, requests, quiet_s: end.saturating_sub(first) as f64 * 1e-9 }
    }
}
