//! Data on stdout: a table for people, JSON or NDJSON for programs.

use crate::error::ServiceError;
use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use serde_json::Value;
use std::io::{ErrorKind, IsTerminal, Write, stdout};

/// Narrower than this no table can be read.
const WIDTH_MIN: u16 = 40;
/// Taken where the terminal does not say.
const WIDTH_UNKNOWN: u16 = 160;

/// How data are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    Table,
    /// One JSON value.
    Json,
    /// One JSON value a line.
    Ndjson,
}

/// `--output`, for commands that print data.
#[derive(Clone, Copy, Debug, Args)]
pub struct FormatArg {
    /// How to print: a table on a terminal, else JSON.
    #[arg(long, value_enum, env = "GEOPHONE_OUTPUT", value_name = "FORMAT")]
    output: Option<Format>,
}

impl FormatArg {
    /// The format that was asked for or fits where stdout goes.
    pub fn format(self) -> Format {
        self.output.unwrap_or_else(|| if stdout().is_terminal() { Format::Table } else { Format::Json })
    }
}

/// Writes text to stdout. A reader that has gone is no failure.
pub(crate) fn say(text: &str) -> Result<(), ServiceError> {
    let mut out = stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(ServiceError::io("write to stdout")),
    }
}

/// Prints one value.
pub(crate) fn print_value(format: Format, value: &Value) -> Result<(), ServiceError> {
    match (format, value) {
        (Format::Json, _) => say(&pretty(value)),
        (Format::Ndjson, _) => say(&value.to_string()),
        (Format::Table, Value::Object(fields)) => {
            let rows = fields.iter().map(|(name, value)| vec![name.clone(), block(value)]).collect();
            say(&table(&[], rows))
        }
        (Format::Table, value) => say(&cell(value)),
    }
}

/// Prints a list; `whole` is what JSON shows, `columns` (name, path of keys) what a table shows.
pub(crate) fn print_items(format: Format, whole: &Value, items: &[Value], columns: &[(&str, &str)]) -> Result<(), ServiceError> {
    match format {
        Format::Json => say(&pretty(whole)),
        Format::Ndjson => items.iter().try_for_each(|item| say(&item.to_string())),
        Format::Table => {
            let names: Vec<String> = columns.iter().map(|(name, _)| (*name).to_owned()).collect();
            let row = |item: &Value| columns.iter().map(|(_, path)| item.pointer(path).map_or_else(String::new, cell)).collect();
            say(&table(&names, items.iter().map(row).collect()))
        }
    }
}

/// Prints rows under their columns.
pub(crate) fn print_rows(format: Format, answer: crate::api::Answer) -> Result<(), ServiceError> {
    match format {
        Format::Json => say(&pretty(&Value::Array(answer.objects()))),
        Format::Ndjson => answer.objects().iter().try_for_each(|row| say(&row.to_string())),
        Format::Table => {
            let rows = answer.rows.iter().map(|row| row.iter().map(cell).collect()).collect();
            say(&table(&answer.columns, rows))
        }
    }
}

pub(crate) fn table(header: &[String], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    // A terminal that does not know its width says zero.
    if table.width().is_some_and(|width| width < WIDTH_MIN) {
        table.set_width(WIDTH_UNKNOWN);
    }
    if !header.is_empty() {
        table.set_header(header);
    }
    table.add_rows(rows);
    table.to_string()
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_else(|_| value.to_string())
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn block(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Object(_) => pretty(value),
        other => cell(other),
    }
}
