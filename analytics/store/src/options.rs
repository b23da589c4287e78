//! Bounds of the tables and of SQL.

use crate::durable::Failpoint;
use geophone_proto::{feature::FeatureSchema, record::DecodeExport};
use std::time::Duration;

/// What the store is told before it starts.
#[derive(Clone)]
pub struct StoreOptions {
    /// Walks the wire bytes of a batch that is not decoded yet.
    pub decode: DecodeExport,
    /// Names of the columns of the table `features`.
    pub features: FeatureSchema,
    /// Files whose newest row arrived longer ago than this are dropped.
    pub retention_age: Duration,
    /// Above this the files that arrived first are dropped.
    pub retention_bytes: u64,
    /// A query that runs longer is given up.
    pub query_timeout: Duration,
    /// An answer with more rows is an error, never cut.
    pub query_rows_max: usize,
    /// A query that would hold more is refused.
    pub query_bytes_max: usize,
    /// So many queries run at once; one more is refused.
    pub queries_max: usize,
    /// More Parquet files than this in one hour of a table are merged.
    pub files_per_hour_max: usize,
    /// Makes named steps fail; tests only.
    pub failpoint: Option<Failpoint>,
}

impl StoreOptions {
    /// Defaults: 7 days, 10 GiB; 10 s, 10,000 rows, 256 MiB and 2 at once for queries.
    pub fn new(decode: DecodeExport, features: FeatureSchema) -> Self {
        Self {
            decode,
            features,
            retention_age: Duration::from_secs(7 * 86_400),
            retention_bytes: 10 << 30,
            query_timeout: Duration::from_secs(10),
            query_rows_max: 10_000,
            query_bytes_max: 256 << 20,
            queries_max: 2,
            files_per_hour_max: 8,
            failpoint: None,
        }
    }
}
