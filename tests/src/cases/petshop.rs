//! The PetShop cases: metrics of the components of an application every five minutes, its dependency
//! graph, and issues with a known root cause.
//!
//! A case is the scenario's fault-free series (or, where it has none, those of a scenario that has), moved
//! to end where the issue begins, then the issue. Components are services, their metrics gauges. The graph
//! comes as what the Collector's service graph connector makes of traces: a metric a pair of client and server.

use super::{
    Story, Truth,
    otlp::{self, GaugeRow, Rows},
    table::Table,
};
use geophone_proto::time::SECOND_NS;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

const STEP_NS: u64 = 300 * SECOND_NS;
/// The fault-free series that a case is given at most.
const QUIET_STEPS: usize = 288;
/// The metric that tells edges.
const EDGES: &str = "traces_service_graph_request_total";

/// One issue with all its rows.
#[derive(Clone, Debug)]
pub struct Case {
    /// What is known of it.
    pub truth: Truth,
    quiet: Vec<GaugeRow>,
    issue: Vec<GaugeRow>,
    edges: Vec<(String, String)>,
}

fn gauges(path: &Path) -> Result<Vec<GaugeRow>, String> {
    let table = Table::read(path)?;
    let mut gauges = Vec::new();
    for row in table.rows() {
        let at_ns = row.text("timestamp").parse::<f64>().map_or(0, |seconds| seconds as u64) * SECOND_NS;
        for (column, name) in table.names.iter().enumerate().skip(1) {
            let mut parts = name.split('|');
            let (Some(component), Some(metric), Some(statistic)) = (parts.next(), parts.next(), parts.next()) else { continue };
            if let Ok(value) = row.at(column).parse() {
                let name = format!("{metric}.{}", statistic.to_lowercase());
                gauges.push(GaugeRow { at_ns, service: component.to_owned(), name, attributes: Vec::new(), value });
            }
        }
    }
    Ok(gauges)
}

fn edges(path: &Path) -> Result<Vec<(String, String)>, String> {
    let table = Table::read(path)?;
    let mut edges = Vec::new();
    for row in table.rows() {
        for (column, callee) in table.names.iter().enumerate().skip(1) {
            if row.at(column).parse::<f64>().is_ok_and(|calls| calls > 0.0) {
                edges.push((row.at(0).to_owned(), callee.clone()));
            }
        }
    }
    Ok(edges)
}

/// Reads all issues of the data set.
pub fn read(datasets: &Path) -> Result<Vec<Case>, String> {
    let folder = datasets.join("petshop");
    let issues = Table::read(&folder.join("issues.csv"))?;
    let quiet_of = |scenario: &str| {
        let own = folder.join(scenario).join("noissue.csv.gz");
        gauges(&if own.is_file() { own } else { folder.join("low_traffic/noissue.csv.gz") })
    };
    let mut quiet = BTreeMap::new();
    let mut cases = Vec::new();
    for row in issues.rows() {
        let (scenario, issue) = (row.text("scenario"), row.text("issue"));
        if !quiet.contains_key(scenario) {
            quiet.insert(scenario.to_owned(), quiet_of(scenario)?);
        }
        let from_ns = row.number("target_ts") * SECOND_NS;
        let truth = Truth {
            case: format!("petshop-{scenario}-{issue}"),
            system: "petshop".into(),
            cause: row.text("root_cause_node").to_owned(),
            fault: row.text("target_metric").to_owned(),
            from_ns: from_ns.saturating_sub(STEP_NS),
            to_ns: from_ns + 6 * STEP_NS,
        };
        cases.push(Case {
            truth,
            quiet: quiet.get(scenario).cloned().unwrap_or_default(),
            issue: gauges(&folder.join(scenario).join(format!("{issue}.csv.gz")))?,
            edges: edges(&folder.join(scenario).join("graph.csv.gz"))?,
        });
    }
    Ok(cases)
}

/// A series: component and metric.
type Named<'a> = (&'a str, &'a str);

fn by_series(rows: &[GaugeRow]) -> BTreeMap<Named<'_>, Vec<f64>> {
    let mut values: BTreeMap<Named<'_>, Vec<f64>> = BTreeMap::new();
    rows.iter().for_each(|row| values.entry((&row.service, &row.name)).or_default().push(row.value));
    values
}

impl Case {
    /// The fault-free series with the seam mended: another recording, of another day, where some components stand
    /// elsewhere altogether. Where a series' rows from before the fault lie outside of what nine of ten of its fault-free
    /// values are, these are brought to the same level.
    fn joined(&self, quiet: Vec<GaugeRow>) -> Vec<GaugeRow> {
        let before: Vec<GaugeRow> = self.issue.iter().filter(|row| row.at_ns < self.truth.from_ns).cloned().collect();
        let (before, values) = (by_series(&before), by_series(&quiet));
        let mut levels: BTreeMap<Named<'_>, (f64, f64)> = BTreeMap::new();
        for (series, mut all) in values {
            let Some(own) = before.get(&series) else { continue };
            let level = own.iter().sum::<f64>() / own.len() as f64;
            all.sort_by(f64::total_cmp);
            let at = |part: usize| all[(all.len() - 1) * part / 20];
            if level < at(1) || level > at(19) {
                levels.insert(series, (at(10), level));
            }
        }
        let moved = |row: &GaugeRow| match levels.get(&(row.service.as_str(), row.name.as_str())) {
            Some((usual, level)) if *usual > 0.0 && *level > 0.0 => row.value * level / usual,
            Some((usual, level)) => row.value + level - usual,
            None => row.value,
        };
        quiet.iter().map(|row| GaugeRow { value: moved(row), ..row.clone() }).collect()
    }

    /// The case as `geophone replay` gets it.
    pub fn story(&self) -> Story {
        let start = self.issue.iter().map(|row| row.at_ns).min().unwrap_or(0);
        let mut times: Vec<u64> = self.quiet.iter().map(|row| row.at_ns).collect();
        times.sort_unstable();
        times.dedup();
        let kept = &times[times.len().saturating_sub(QUIET_STEPS)..];
        let by = start.saturating_sub(STEP_NS).saturating_sub(kept.last().copied().unwrap_or(0));
        let back = kept.last().copied().unwrap_or(0).saturating_sub(start.saturating_sub(STEP_NS));
        let from = kept.first().copied().unwrap_or(0);
        let quiet = self.quiet.iter().filter(|row| row.at_ns >= from);
        let moved = quiet.map(|row| GaugeRow { at_ns: row.at_ns + by - back, ..row.clone() }).collect();
        let mut gauges = self.joined(moved);
        gauges.extend(self.issue.iter().cloned());
        let all: BTreeSet<u64> = gauges.iter().map(|row| row.at_ns).collect();
        for (number, at_ns) in all.into_iter().enumerate() {
            gauges.extend(self.edges.iter().map(|(client, server)| GaugeRow {
                at_ns,
                service: "servicegraph".into(),
                name: EDGES.into(),
                attributes: vec![("client".into(), client.clone()), ("server".into(), server.clone())],
                value: 100.0 * (number as f64 + 1.0),
            }));
        }
        let quiet_s = kept.len() as f64 * 300.0;
        Story { truth: self.truth.clone(), requests: otlp::requests(Rows { gauges, ..Rows::default() }), quiet_s }
    }
}
