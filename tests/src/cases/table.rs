//! Gzipped comma-separated files with a head line, read whole. Cells are asked for by name.

use flate2::read::GzDecoder;
use std::{collections::HashMap, fs::File, io::Read, path::Path};

/// A file in memory.
pub struct Table {
    columns: HashMap<String, usize>,
    /// Names of the columns in order.
    pub names: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

/// One row of a table.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    table: &'a Table,
    cells: &'a csv::StringRecord,
}

impl Table {
    /// Reads a file; a message that says which and why if it cannot be read.
    pub fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
        let file = File::open(path).map_err(|error| failed(&error))?;
        let input: Box<dyn Read> =
            if path.extension().is_some_and(|ending| ending == "gz") { Box::new(GzDecoder::new(file)) } else { Box::new(file) };
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(input);
        let names: Vec<String> = reader.headers().map_err(|error| failed(&error))?.iter().map(str::to_owned).collect();
        let rows = reader.records().collect::<Result<Vec<_>, _>>().map_err(|error| failed(&error))?;
        let columns = names.iter().enumerate().map(|(at, name)| (name.clone(), at)).collect();
        Ok(Self { columns, names, rows })
    }

    /// All rows.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|cells| Row { table: self, cells })
    }
}

impl<'a> Row<'a> {
    /// A cell by its column's name; empty if there is none.
    pub fn text(self, column: &str) -> &'a str {
        self.table.columns.get(column).and_then(|at| self.cells.get(*at)).unwrap_or_default()
    }

    /// A cell by its column's number.
    pub fn at(self, column: usize) -> &'a str {
        self.cells.get(column).unwrap_or_default()
    }

    /// A cell as a number; 0 where it is none.
    pub fn number(self, column: &str) -> u64 {
        self.text(column).parse().unwrap_or(0)
    }
}
