//! Decoded columns as row counts and one hash per column.

use arrow_array::{
    Array, RecordBatch,
    cast::AsArray,
    types::{Float64Type, Int64Type, UInt8Type, UInt32Type, UInt64Type},
};
use arrow_schema::DataType;
use geophone_proto::{Batch, Columns};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use xxhash_rust::xxh3::Xxh3;

/// Tables by name.
#[derive(Default)]
pub struct Digest(BTreeMap<String, (u64, BTreeMap<String, Xxh3>)>);

impl Digest {
    /// Adds one batch's rows, resources and scopes.
    pub fn add(&mut self, batch: &Batch) {
        let rows = match &batch.columns {
            Columns::Traces(rows) => rows.record_batch(),
            Columns::Metrics(rows) => rows.record_batch(),
            Columns::Logs(rows) => rows.record_batch(),
            Columns::Profiles(rows) => rows.record_batch(),
        };
        self.table(batch.signal().as_str(), &rows);
        self.table("resources", &batch.resources.record_batch());
        self.table("scopes", &batch.scopes.record_batch());
    }

    fn table(&mut self, name: &str, rows: &RecordBatch) {
        let (count, columns) = self.0.entry(name.to_owned()).or_default();
        *count += rows.num_rows() as u64;
        for (field, column) in rows.schema_ref().fields().iter().zip(rows.columns()) {
            feed(columns.entry(field.name().clone()).or_insert_with(|| Xxh3::with_seed(0)), column);
        }
    }

    /// As the golden file has it.
    pub fn to_json(&self) -> Value {
        let hex = |hash: &Xxh3| json!(format!("{:016x}", hash.digest()));
        let table = |(rows, columns): &(u64, BTreeMap<String, Xxh3>)| {
            let columns: BTreeMap<&String, Value> = columns.iter().map(|(name, hash)| (name, hex(hash))).collect();
            json!({ "rows": rows, "columns": columns })
        };
        self.0.iter().map(|(name, rows)| (name.clone(), table(rows))).collect()
    }
}

/// Feeds every value, with its length where that varies.
fn feed(hash: &mut Xxh3, column: &dyn Array) {
    let mut bytes = |bytes: &[u8]| {
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().iter().flatten().for_each(|text| bytes(text.as_bytes())),
        DataType::Binary => column.as_binary::<i32>().iter().flatten().for_each(bytes),
        DataType::FixedSizeBinary(_) => column.as_fixed_size_binary().iter().flatten().for_each(bytes),
        DataType::Boolean => column.as_boolean().iter().flatten().for_each(|flag| bytes(&[flag.into()])),
        DataType::UInt8 => column.as_primitive::<UInt8Type>().values().iter().for_each(|value| bytes(&[*value])),
        DataType::UInt32 => column.as_primitive::<UInt32Type>().values().iter().for_each(|value| bytes(&value.to_le_bytes())),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().values().iter().for_each(|value| bytes(&value.to_le_bytes())),
        DataType::Int64 => column.as_primitive::<Int64Type>().values().iter().for_each(|value| bytes(&value.to_le_bytes())),
        DataType::Float64 => column.as_primitive::<Float64Type>().values().iter().for_each(|value| bytes(&value.to_bits().to_le_bytes())),
        DataType::List(_) => column.as_list::<i32>().iter().flatten().for_each(|list| {
            hash.update(&(list.len() as u64).to_le_bytes());
            feed(hash, &list);
        }),
        other => panic!("a column of type {other}: teach this test to hash it"),
    }
}
