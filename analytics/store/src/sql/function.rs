//! `json_get(text, 'key')`: what `attributes ->> 'key'` becomes.

use crate::parquet::attribute_of;
use polars::prelude::UserDefinedFunction;
use polars::{
    prelude::{
        AnonymousColumnsUdf, Column, ColumnsUdf, DataType, Expr, Field, IntoColumn, PolarsError, PolarsResult, Schema, StringChunked,
        StringChunkedBuilder, col,
    },
    sql::{FunctionOptions, FunctionRegistry},
};
use std::{any::Any, sync::Arc};

/// Name in SQL.
pub(crate) const NAME: &str = "json_get";

/// The one function that polars does not bring.
pub(crate) struct Functions;

impl FunctionRegistry for Functions {
    fn register(&mut self, name: &str, _: UserDefinedFunction) -> PolarsResult<()> {
        Err(PolarsError::ComputeError(format!("`{name}` cannot be registered").into()))
    }

    fn get_udf(&self, name: &str) -> PolarsResult<Option<UserDefinedFunction>> {
        Ok((name == NAME).then(|| {
            let function = UserDefinedFunction::new(NAME.into(), JsonGet);
            UserDefinedFunction { options: FunctionOptions::elementwise(), ..function }
        }))
    }

    fn contains(&self, name: &str) -> bool {
        name == NAME
    }
}

/// A column of JSON members, as files hold attributes, as a column of JSON objects.
pub(crate) fn object_of(column: &str) -> Expr {
    let function = UserDefinedFunction::new("json_object".into(), JsonObject);
    UserDefinedFunction { options: FunctionOptions::elementwise(), ..function }.call(vec![col(column)])
}

struct JsonObject;

impl ColumnsUdf for JsonObject {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn call_udf(&self, columns: &mut [Column]) -> PolarsResult<Column> {
        let [lists] = columns else {
            return Err(PolarsError::ComputeError("json_object takes a column of lists".into()));
        };
        let name = lists.name().clone();
        let lists = lists.as_materialized_series().rechunk();
        let lists = lists.list()?;
        let mut objects = StringChunkedBuilder::new(name, lists.len());
        let mut text = String::new();
        for members in lists.amortized_iter() {
            let Some(members) = members else {
                objects.append_null();
                continue;
            };
            text.clear();
            for member in members.as_ref().str()?.iter().flatten().filter(|member| !member.is_empty()) {
                text.push(if text.is_empty() { '{' } else { ',' });
                text.push_str(member);
            }
            text.push_str(if text.is_empty() { "{}" } else { "}" });
            objects.append_value(&text);
        }
        Ok(objects.finish().into_column())
    }
}

impl AnonymousColumnsUdf for JsonObject {
    fn as_column_udf(self: Arc<Self>) -> Arc<dyn ColumnsUdf> {
        self
    }

    fn deep_clone(self: Arc<Self>) -> Arc<dyn AnonymousColumnsUdf> {
        self
    }

    fn get_field(&self, _: &Schema, fields: &[Field]) -> PolarsResult<Field> {
        let name = fields.first().map_or_else(|| "json_object".into(), |field| field.name().clone());
        Ok(Field::new(name, DataType::String))
    }
}

struct JsonGet;

impl ColumnsUdf for JsonGet {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn call_udf(&self, columns: &mut [Column]) -> PolarsResult<Column> {
        let [object, key] = columns else {
            return Err(PolarsError::ComputeError("json_get takes a text column and a key".into()));
        };
        let name = object.name().clone();
        let (object, key) = (object.as_materialized_series(), key.as_materialized_series());
        let key = key.str()?.get(0).unwrap_or_default().to_owned();
        let found: StringChunked = object.str()?.iter().map(|text| text.and_then(|text| attribute_of(text, &key))).collect();
        Ok(found.with_name(name).into_column())
    }
}

impl AnonymousColumnsUdf for JsonGet {
    fn as_column_udf(self: Arc<Self>) -> Arc<dyn ColumnsUdf> {
        self
    }

    fn deep_clone(self: Arc<Self>) -> Arc<dyn AnonymousColumnsUdf> {
        self
    }

    fn get_field(&self, _: &Schema, fields: &[Field]) -> PolarsResult<Field> {
        let name = fields.first().map_or_else(|| NAME.into(), |field| field.name().clone());
        Ok(Field::new(name, DataType::String))
    }
}
