//! Answers as JSON: NaN as null, JSON text columns as objects, numbers as numbers.

use crate::store::Rows;
use polars::prelude::{AnyValue, DataFrame};
use serde_json::{Number, Value};

/// Columns whose text is JSON and is shown as such.
const JSON_COLUMNS: &[&str] = &[
    "attributes",
    "resource",
    "events",
    "labels",
    "suspects",
    "anomalies",
    "actions",
    "services",
    "timeline",
    "contributions",
    "exemplars",
    "stacks",
    "operation",
    "undo",
];

/// All rows of a frame.
pub(crate) fn rows(frame: &DataFrame) -> Rows {
    let columns: Vec<String> = frame.get_column_names().iter().map(|name| name.to_string()).collect();
    let mut rows: Vec<Vec<Value>> = (0..frame.height()).map(|_| Vec::with_capacity(columns.len())).collect();
    for column in frame.columns() {
        let series = column.as_materialized_series().rechunk();
        let is_json = JSON_COLUMNS.contains(&column.name().as_str());
        for (row, value) in rows.iter_mut().zip(series.iter()) {
            row.push(match (&value, is_json) {
                (AnyValue::String(text), true) => serde_json::from_str(text).unwrap_or_else(|_| Value::String((*text).to_owned())),
                _ => json(&value),
            });
        }
    }
    Rows { columns, rows }
}

fn float(number: f64) -> Value {
    Number::from_f64(number).map_or(Value::Null, Value::Number)
}

fn json(value: &AnyValue<'_>) -> Value {
    match value {
        AnyValue::Null => Value::Null,
        AnyValue::Boolean(flag) => Value::Bool(*flag),
        AnyValue::String(text) => Value::String((*text).to_owned()),
        AnyValue::StringOwned(text) => Value::String(text.to_string()),
        // Shortest decimal that gives the same f32, not its f64 expansion.
        AnyValue::Float32(number) => number.to_string().parse().map_or(Value::Null, float),
        AnyValue::Float64(number) => float(*number),
        AnyValue::List(series) => Value::Array(series.iter().map(|item| json(&item)).collect()),
        AnyValue::Int64(number) => Value::Number((*number).into()),
        AnyValue::UInt64(number) => Value::Number((*number).into()),
        other => match other.extract::<i64>() {
            Some(number) if other.is_integer() => Value::Number(number.into()),
            _ => Value::String(other.to_string()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use polars::prelude::df;

    #[test]
    fn values_are_shown_as_json_has_them() {
        let frame = df!("a" => [f64::NAN, 0.5], "b" => [0.1f32, f32::INFINITY], "attributes" => [r#"{"k":1}"#, "no json"], "n" => [Some(7u32), None])
            .expect("columns are equally long");
        let shown = serde_json::to_string(&rows(&frame).rows).expect("it encodes");
        assert_eq!(shown, r#"[[null,0.1,{"k":1},7],[0.5,null,"no json",null]]"#);
    }
}
