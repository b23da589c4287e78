//! Runs a checked statement within its bounds: slots, time, rows, memory.

use super::{
    bounds,
    function::Functions,
    source::{self, Moment, TABLES, Wanted, columns_of},
    statement::{Checked, Reads, check},
    value,
};
use crate::{
    error::StoreError,
    parquet::{Telemetry, Type},
    store::{Rows, Store},
};
use polars::{
    prelude::{DataFrame, IdxSize, PolarsError},
    sql::SQLContext,
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

/// What a row of a join without condition takes at least.
const PAIR_BYTES: u64 = 16;

/// A query's place; given back when the work ends, also after a timeout.
struct Slot(Arc<AtomicUsize>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Store {
    /// Runs one read-only statement over sealed and recent rows. Never an answer with rows missing: what
    /// exceeds a bound is an error that says so. Blocks up to `query_timeout`.
    pub fn query(self: &Arc<Self>, sql: &str) -> Result<Rows, StoreError> {
        let answer = self.answer(sql);
        let outcome = match &answer {
            Ok(_) => "ok",
            Err(StoreError::Refused(_)) => "refused",
            Err(StoreError::Statement(_)) => "statement",
            Err(StoreError::TooManyRows { .. }) => "rows",
            Err(StoreError::TooMuchMemory { .. }) => "memory",
            Err(StoreError::TimedOut(_)) => "timeout",
            Err(StoreError::TooManyQueries(_)) => "busy",
            Err(_) => "error",
        };
        metrics::counter!("geophone_queries_total", "outcome" => outcome).increment(1);
        answer
    }

    fn answer(self: &Arc<Self>, sql: &str) -> Result<Rows, StoreError> {
        let reads = match check(sql, &TABLES)? {
            Checked::Query(reads) => reads,
            Checked::ShowTables => {
                let rows: Vec<Vec<String>> = TABLES.iter().map(|name| vec![(*name).to_owned()]).collect();
                return listed(&["name"], &rows);
            }
            Checked::Describe(table) => {
                let rows: Vec<Vec<String>> =
                    columns_of(self, &table).into_iter().map(|(name, kind)| vec![name, kind.dtype().to_string()]).collect();
                return listed(&["column", "type"], &rows);
            }
        };
        let slot = self.slot()?;
        let store = self.clone();
        let (sender, receiver) = mpsc::sync_channel(1);
        let timeout = self.options.query_timeout;
        let work = move || {
            let answer = run(&store, &reads);
            // Given back before the answer is seen, so that the next query finds the place free.
            drop((slot, store));
            // Nobody waits any more after a timeout.
            let _ = sender.send(answer);
        };
        let spawned = thread::Builder::new().name("geophone-query".to_owned()).stack_size(bounds::STACK_BYTES).spawn(work);
        spawned.map_err(|source| StoreError::io("start a thread for", &self.dir, source))?;
        match receiver.recv_timeout(timeout) {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(StoreError::TimedOut(timeout)),
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                Err(StoreError::columns("run the query", "the SQL engine gave up; please report the statement"))
            }
        }
    }

    fn slot(&self) -> Result<Slot, StoreError> {
        let most = self.options.queries_max;
        let taken = self.queries.fetch_update(Ordering::AcqRel, Ordering::Acquire, |running| (running < most).then_some(running + 1));
        taken.map(|_| Slot(self.queries.clone())).map_err(|_| StoreError::TooManyQueries(most))
    }
}

fn listed(names: &[&str], rows: &[Vec<String>]) -> Result<Rows, StoreError> {
    source::listing(names, rows).map(|frame| value::rows(&frame)).map_err(|error| StoreError::columns("list", error))
}

/// A cheap column that counts rows where the statement names none.
fn wanted(store: &Store, table: &str, reads: &Reads) -> Vec<(String, Type)> {
    let mut columns = columns_of(store, table);
    if let Some(named) = &reads.columns {
        let first_int = columns.iter().find(|(_, kind)| *kind == Type::Int).cloned();
        columns.retain(|(name, _)| named.contains(name));
        if columns.is_empty() {
            columns.extend(first_int);
        }
    }
    columns
}

/// Bytes a value takes in memory, about.
fn width(name: &str, kind: Type) -> u64 {
    match kind {
        Type::Text if matches!(name, "attributes" | "resource" | "events" | "observations" | "body" | "stacks" | "timeline") => 256,
        Type::Text => 40,
        Type::Floats => 128,
        Type::Int | Type::Float => 8,
        Type::Single => 4,
        Type::Flag => 1,
    }
}

fn run(store: &Arc<Store>, reads: &Reads) -> Result<Rows, StoreError> {
    let bound = store.options.query_bytes_max;
    let wanted: Wanted = reads.tables.iter().map(|table| (table.clone(), wanted(store, table, reads))).collect();
    let moment = Moment::take(store, &reads.tables);
    let mut recent = moment.recent(store, &wanted, bound)?;
    let mut context = SQLContext::new().with_function_registry(Arc::new(Functions));
    let mut needed = 0u64;
    let mut rows: BTreeMap<&str, u64> = BTreeMap::new();
    for (table, columns) in &wanted {
        let telemetry = Telemetry::ALL.into_iter().find(|it| it.as_str() == table);
        let frame = match telemetry.and_then(|table| recent.remove(&table)) {
            Some(frame) => frame,
            None => moment.derived(store, table, columns).map_err(|error| StoreError::columns("make columns", error))?,
        };
        needed += frame.estimated_size() as u64;
        rows.insert(table, frame.height() as u64 + moment.files(table).map(|file| file.rows).sum::<u64>());
        if reads.holds_rows {
            let row: u64 = columns.iter().map(|(name, kind)| width(name, *kind)).sum();
            needed += moment.files(table).map(|file| file.rows).sum::<u64>() * row;
        }
        if needed > bound as u64 {
            return Err(StoreError::TooMuchMemory { needed: usize::try_from(needed).unwrap_or(usize::MAX), bound });
        }
        let lazy = source::table(store, &moment, table, columns, frame).map_err(|error| explained(store, reads, &error))?;
        context.register(table, lazy);
    }
    let pairs = reads.crossed.iter().filter_map(|table| rows.get(table.as_str())).fold(1u64, |pairs, rows| pairs.saturating_mul(*rows));
    if !reads.crossed.is_empty() && pairs.saturating_mul(PAIR_BYTES) > bound as u64 {
        return Err(StoreError::Refused(format!(
            "tables joined without a condition give {pairs} rows, more than there is memory for: join them ON something"
        )));
    }
    let limit = store.options.query_rows_max;
    let frame = collect(&mut context, reads, limit).map_err(|error| explained(store, reads, &error))?;
    if frame.height() > limit {
        return Err(StoreError::TooManyRows { limit });
    }
    Ok(value::rows(&frame))
}

fn collect(context: &mut SQLContext, reads: &Reads, limit: usize) -> Result<DataFrame, PolarsError> {
    let lazy = context.execute(&reads.sql)?;
    if reads.explains {
        return lazy.collect();
    }
    // One row more than allowed tells that there are too many, without making them all.
    lazy.limit(IdxSize::try_from(limit.saturating_add(1)).unwrap_or(IdxSize::MAX)).collect()
}

/// What polars said, with what there is instead where a name is unknown.
fn explained(store: &Store, reads: &Reads, error: &PolarsError) -> StoreError {
    let message = error.to_string();
    let message = message.split("\n\nResolved plan").next().unwrap_or_default().trim();
    let unknown = matches!(error, PolarsError::ColumnNotFound(_)) || message.contains("not found") || message.contains("unable to find");
    if !unknown {
        return StoreError::Statement(message.to_owned());
    }
    let lists = reads.tables.iter().map(|table| {
        let names: Vec<String> = columns_of(store, table).into_iter().map(|(name, _)| name).collect();
        format!("{table} has {}", names.join(", "))
    });
    StoreError::Statement(format!("{message}; {}", lists.collect::<Vec<_>>().join("; ")))
}
