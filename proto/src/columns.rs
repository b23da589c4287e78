//! The Arrow schemas of a batch: one list per table gives schema, check and typed access.

use arrow_array::{
    Array, BinaryArray, BooleanArray, FixedSizeBinaryArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, UInt8Array,
    UInt32Array, UInt64Array,
};
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef};
use std::sync::{Arc, LazyLock};

/// A list of numbers per row, as histograms have.
pub fn list_of_f64() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::Float64, false)))
}

/// What a table's columns must be, beside their types: as many rows each, none of them null.
fn checked(field: &Field, column: &dyn Array, rows: usize) -> Result<(), ArrowError> {
    if column.len() == rows && column.null_count() == 0 && column.data_type() == field.data_type() {
        return Ok(());
    }
    let (name, wanted, found, len) = (field.name(), field.data_type(), column.data_type(), column.len());
    Err(ArrowError::InvalidArgumentError(format!("column `{name}` has {len} rows of {found}, not {rows} of {wanted} without nulls")))
}

macro_rules! columns {
    ($(#[$doc:meta])* $table:ident($inner:ident) { $($(#[$column_doc:meta])* $column:ident : $array:ident = $data_type:expr),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $table(Arc<$inner>);

        #[derive(Debug)]
        struct $inner {
            rows: usize,
            memory_bytes: usize,
            $($column: $array),+
        }

        /// Tables are equal if their rows are, wherever these lie.
        impl PartialEq for $table {
            fn eq(&self, other: &Self) -> bool {
                $(self.0.$column == other.0.$column)&&+
            }
        }

        impl $table {
            /// The schema that every batch of this table has, in this order, without nulls.
            pub fn schema() -> SchemaRef {
                static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
                    Arc::new(Schema::new(vec![$(Field::new(stringify!($column), $data_type, false)),+]))
                });
                SCHEMA.clone()
            }

            /// Wraps columns given in schema order; refuses any other schema or unequal lengths.
            pub fn try_new(columns: Vec<Arc<dyn Array>>) -> Result<Self, ArrowError> {
                let memory_bytes = columns.iter().map(|column| column.get_array_memory_size()).sum();
                let batch = RecordBatch::try_new(Self::schema(), columns)?;
                let mut columns = batch.columns().iter();
                let mut next = || columns.next().expect("the schema was checked");
                Ok(Self(Arc::new($inner {
                    rows: batch.num_rows(),
                    memory_bytes,
                    $($column: next().as_any().downcast_ref::<$array>().expect("the schema was checked").clone()),+
                })))
            }

            /// Wraps columns given in schema order, which hold so many bytes together: they may share their memory.
            pub fn from_columns(memory_bytes: usize, ($($column,)+): ($($array,)+)) -> Result<Self, ArrowError> {
                let schema = Self::schema();
                let mut fields = schema.fields().iter();
                let mut rows = None;
                $(
                    if let Some(field) = fields.next() {
                        checked(field, &$column, *rows.get_or_insert($column.len()))?;
                    }
                )+
                let memory_bytes = memory_bytes + size_of::<$inner>();
                Ok(Self(Arc::new($inner { rows: rows.unwrap_or(0), memory_bytes, $($column),+ })))
            }

            /// Wraps a record batch of exactly this schema.
            pub fn from_batch(batch: RecordBatch) -> Result<Self, ArrowError> {
                Self::try_new(batch.columns().to_vec())
            }

            /// A table without rows.
            pub fn empty() -> Self {
                Self::from_batch(RecordBatch::new_empty(Self::schema())).expect("it has the schema")
            }

            /// The columns as Arrow sees them.
            pub fn record_batch(&self) -> RecordBatch {
                let columns: Vec<Arc<dyn Array>> = vec![$(Arc::new(self.0.$column.clone())),+];
                RecordBatch::try_new(Self::schema(), columns).expect("the columns were checked when the table was made")
            }

            /// Memory that the columns hold, about.
            pub fn memory_bytes(&self) -> usize {
                self.0.memory_bytes
            }

            /// Number of rows.
            pub fn len(&self) -> usize {
                self.0.rows
            }

            /// Whether there is no row.
            pub fn is_empty(&self) -> bool {
                self.0.rows == 0
            }

            $(
                $(#[$column_doc])*
                #[inline]
                pub fn $column(&self) -> &$array {
                    &self.0.$column
                }
            )+
        }
    };
}

columns! {
    /// One row per `Resource` message of a request; rows of other tables point here.
    Resources(ResourceColumns) {
        /// `service.name`, or `unknown_service`.
        service: StringArray = DataType::Utf8,
        /// `service.namespace`, or empty.
        namespace: StringArray = DataType::Utf8,
        /// `service.version`, or empty.
        version: StringArray = DataType::Utf8,
        /// `service.instance.id`, else `k8s.pod.name`, else `host.name`, else empty.
        instance: StringArray = DataType::Utf8,
        /// Fixed-seed hash of all attributes in key order: who sends, for the learned delay.
        hash: UInt64Array = DataType::UInt64,
        /// `attributes::Encoded`.
        attributes: BinaryArray = DataType::Binary,
    }
}

columns! {
    /// One row per `InstrumentationScope` message of a request.
    Scopes(ScopeColumns) {
        /// Scope name.
        name: StringArray = DataType::Utf8,
        /// Scope version.
        version: StringArray = DataType::Utf8,
    }
}

columns! {
    /// One row per accepted span.
    Spans(SpanColumns) {
        /// Row of `Resources`.
        resource: UInt32Array = DataType::UInt32,
        /// Row of `Scopes`.
        scope: UInt32Array = DataType::UInt32,
        /// Trace id.
        trace_id: FixedSizeBinaryArray = DataType::FixedSizeBinary(16),
        /// Span id.
        span_id: FixedSizeBinaryArray = DataType::FixedSizeBinary(8),
        /// Parent's span id; zeros for a root.
        parent_span_id: FixedSizeBinaryArray = DataType::FixedSizeBinary(8),
        /// Span name.
        name: StringArray = DataType::Utf8,
        /// `http.route`, or empty.
        route: StringArray = DataType::Utf8,
        /// `peer.service`, else `server.address`, else `db.system.name`/`db.system`, or empty: whom a client span calls.
        peer: StringArray = DataType::Utf8,
        /// OTLP's `SpanKind` number, 0 to 5.
        kind: UInt8Array = DataType::UInt8,
        /// Start, as sent.
        start_ns: UInt64Array = DataType::UInt64,
        /// End, as sent; a span counts at its end.
        end_ns: UInt64Array = DataType::UInt64,
        /// OTLP's `StatusCode` number: 0 unset, 1 ok, 2 error.
        status: UInt8Array = DataType::UInt8,
        /// Status message, or empty.
        status_message: StringArray = DataType::Utf8,
        /// `attributes::Encoded`.
        attributes: BinaryArray = DataType::Binary,
        /// Protobuf bytes of a message whose field 1 repeats `Span.Event`.
        events: BinaryArray = DataType::Binary,
    }
}

columns! {
    /// One row per accepted metric data point.
    Points(PointColumns) {
        /// Row of `Resources`.
        resource: UInt32Array = DataType::UInt32,
        /// Row of `Scopes`.
        scope: UInt32Array = DataType::UInt32,
        /// Metric name.
        metric: StringArray = DataType::Utf8,
        /// Metric unit (UCUM).
        unit: StringArray = DataType::Utf8,
        /// `PointKind` number.
        kind: UInt8Array = DataType::UInt8,
        /// OTLP's `AggregationTemporality` number: 0 unspecified, 1 delta, 2 cumulative.
        temporality: UInt8Array = DataType::UInt8,
        /// Whether a sum only grows.
        monotonic: BooleanArray = DataType::Boolean,
        /// Start of the interval, 0 if none.
        start_ns: UInt64Array = DataType::UInt64,
        /// Time of the point.
        time_ns: UInt64Array = DataType::UInt64,
        /// The value of a gauge or sum, the sum of a distribution, as sent; NaN where OTLP has none.
        value: Float64Array = DataType::Float64,
        /// Number of observations in a distribution; 0 for a gauge or sum.
        count: UInt64Array = DataType::UInt64,
        /// OTLP's `DataPointFlags`; bit 0 = no recorded value.
        flags: UInt32Array = DataType::UInt32,
        /// Upper bounds of the buckets, ascending (an exponential histogram's are spelt out); a summary's quantiles.
        bounds: ListArray = list_of_f64(),
        /// Counts per bucket, one more than bounds; a summary's values, as many as quantiles.
        buckets: ListArray = list_of_f64(),
        /// Trace id of the first exemplar that has one, else zeros.
        exemplar_trace_id: FixedSizeBinaryArray = DataType::FixedSizeBinary(16),
        /// Span id of that exemplar, else zeros.
        exemplar_span_id: FixedSizeBinaryArray = DataType::FixedSizeBinary(8),
        /// `attributes::Encoded`.
        attributes: BinaryArray = DataType::Binary,
    }
}

columns! {
    /// One row per accepted log record.
    Logs(LogColumns) {
        /// Row of `Resources`.
        resource: UInt32Array = DataType::UInt32,
        /// Row of `Scopes`.
        scope: UInt32Array = DataType::UInt32,
        /// Time of the event; where it is 0 the observed time stands here.
        time_ns: UInt64Array = DataType::UInt64,
        /// OTLP's `SeverityNumber`, 0 to 24.
        severity: UInt8Array = DataType::UInt8,
        /// The source's own word for the severity, or empty.
        severity_text: StringArray = DataType::Utf8,
        /// The body if it is text, else its JSON.
        body: StringArray = DataType::Utf8,
        /// Trace id, zeros if none.
        trace_id: FixedSizeBinaryArray = DataType::FixedSizeBinary(16),
        /// Span id, zeros if none.
        span_id: FixedSizeBinaryArray = DataType::FixedSizeBinary(8),
        /// `attributes::Encoded`.
        attributes: BinaryArray = DataType::Binary,
    }
}

columns! {
    /// One row per accepted sample of a profile.
    Samples(SampleColumns) {
        /// Row of `Resources`.
        resource: UInt32Array = DataType::UInt32,
        /// Row of `Scopes`.
        scope: UInt32Array = DataType::UInt32,
        /// The profile's id: 16 bytes, or empty.
        profile_id: BinaryArray = DataType::Binary,
        /// Time of the sample's first observation, else the profile's start.
        time_ns: UInt64Array = DataType::UInt64,
        /// What the profile covers.
        duration_ns: UInt64Array = DataType::UInt64,
        /// What was sampled: `cpu`, `off_cpu`, `alloc_space`, ...
        sample_type: StringArray = DataType::Utf8,
        /// Unit of the values.
        unit: StringArray = DataType::Utf8,
        /// Sum of the sample's values; number of observations where it has none.
        value: Int64Array = DataType::Int64,
        /// Number of observations.
        count: UInt64Array = DataType::UInt64,
        /// Nanoseconds that one observation of a sampled profile stands for, 0 if unknown.
        period_ns: UInt64Array = DataType::UInt64,
        /// When and how much: JSON `[[time_ns, value], ...]`; empty where the sample has no times.
        observations: StringArray = DataType::Utf8,
        /// Folded: `outermost;...;innermost`; empty if unknown.
        stack: StringArray = DataType::Utf8,
        /// Trace that it was observed in, zeros if none.
        trace_id: FixedSizeBinaryArray = DataType::FixedSizeBinary(16),
        /// Span that it was observed in, zeros if none.
        span_id: FixedSizeBinaryArray = DataType::FixedSizeBinary(8),
        /// `attributes::Encoded`, of the profile and the sample.
        attributes: BinaryArray = DataType::Binary,
    }
}

/// What `Points::kind` numbers mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PointKind {
    /// A gauge.
    Gauge = 0,
    /// A sum.
    Sum = 1,
    /// A histogram with explicit bounds.
    Histogram = 2,
    /// An exponential histogram.
    ExponentialHistogram = 3,
    /// A summary.
    Summary = 4,
}

impl PointKind {
    /// Reads the column's number.
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Gauge),
            1 => Some(Self::Sum),
            2 => Some(Self::Histogram),
            3 => Some(Self::ExponentialHistogram),
            4 => Some(Self::Summary),
            _ => None,
        }
    }

    /// The word in the SQL table's `type` column.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Sum => "sum",
            Self::Histogram => "histogram",
            Self::ExponentialHistogram => "exponential_histogram",
            Self::Summary => "summary",
        }
    }
}

/// OTLP's word for a span kind number.
pub const fn span_kind_str(number: u8) -> &'static str {
    match number {
        1 => "INTERNAL",
        2 => "SERVER",
        3 => "CLIENT",
        4 => "PRODUCER",
        5 => "CONSUMER",
        _ => "UNSPECIFIED",
    }
}

/// OTLP's word for a status code number.
pub const fn status_str(number: u8) -> &'static str {
    match number {
        1 => "OK",
        2 => "ERROR",
        _ => "UNSET",
    }
}

/// OTLP's short word for a severity number.
pub const fn severity_str(number: u8) -> &'static str {
    match number {
        1..=4 => "TRACE",
        5..=8 => "DEBUG",
        9..=12 => "INFO",
        13..=16 => "WARN",
        17..=20 => "ERROR",
        21..=24 => "FATAL",
        _ => "UNSPECIFIED",
    }
}
