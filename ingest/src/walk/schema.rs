//! OTLP's messages as tables: field number, name in JSON, kind. Read by the check of rarely needed
//! parts (`check`) and by the transcoder of JSON (`crate::json`). A test compares it with `prost`.

/// A message and its fields, ordered by number.
#[derive(Debug)]
pub(crate) struct Message {
    /// Its fields.
    pub(crate) fields: &'static [Field],
}

impl Message {
    /// The field of this number.
    pub(crate) fn by_number(&self, number: u32) -> Option<&'static Field> {
        let likely = usize::try_from(number).ok().and_then(|at| self.fields.get(at.wrapping_sub(1)));
        likely.filter(|field| field.number == number).or_else(|| self.fields.iter().find(|field| field.number == number))
    }

    /// The field of this lowerCamelCase name.
    pub(crate) fn by_name(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.json == name)
    }
}

/// One field.
#[derive(Debug)]
pub(crate) struct Field {
    /// Its number on the wire.
    pub(crate) number: u32,
    /// Its name in JSON.
    pub(crate) json: &'static str,
    /// What it holds.
    pub(crate) kind: Kind,
    /// Whether it repeats.
    pub(crate) many: bool,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// `string`.
    Text,
    /// `bytes`, base64 in JSON.
    Bytes,
    /// `bytes`, hex in JSON: trace and span ids.
    Id,
    /// `bool`.
    Bool,
    /// An enum: only numbers in JSON.
    Enum,
    /// `int32`.
    Int32,
    /// `uint32`.
    UInt32,
    /// `int64`.
    Int64,
    /// `uint64`.
    UInt64,
    /// `sint32`.
    SInt32,
    /// `fixed32`.
    Fixed32,
    /// `fixed64`.
    Fixed64,
    /// `sfixed64`.
    SFixed64,
    /// `double`.
    Double,
    /// A message.
    Message(&'static Message),
}

macro_rules! messages {
    ($($name:ident { $($number:literal $json:literal $kind:ident $(($inner:ident))? $($many:ident)?;)* })*) => {
        $(pub(crate) static $name: Message = Message {
            fields: &[$(Field {
                number: $number,
                json: $json,
                kind: Kind::$kind $((&$inner))?,
                many: messages!(@many $($many)?),
            }),*],
        };)*
    };
    (@many many) => { true };
    (@many) => { false };
}

messages! {
    ANY_VALUE {
        1 "stringValue" Text;
        2 "boolValue" Bool;
        3 "intValue" Int64;
        4 "doubleValue" Double;
        5 "arrayValue" Message(ARRAY_VALUE);
        6 "kvlistValue" Message(KEY_VALUE_LIST);
        7 "bytesValue" Bytes;
        8 "stringValueStrindex" Int32;
    }
    ARRAY_VALUE { 1 "values" Message(ANY_VALUE) many; }
    KEY_VALUE_LIST { 1 "values" Message(KEY_VALUE) many; }
    KEY_VALUE { 1 "key" Text; 2 "value" Message(ANY_VALUE); 3 "keyStrindex" Int32; }
    SCOPE {
        1 "name" Text;
        2 "version" Text;
        3 "attributes" Message(KEY_VALUE) many;
        4 "droppedAttributesCount" UInt32;
    }
    ENTITY_REF { 1 "schemaUrl" Text; 2 "type" Text; 3 "idKeys" Text many; 4 "descriptionKeys" Text many; }
    RESOURCE {
        1 "attributes" Message(KEY_VALUE) many;
        2 "droppedAttributesCount" UInt32;
        3 "entityRefs" Message(ENTITY_REF) many;
    }
    TRACES { 1 "resourceSpans" Message(RESOURCE_SPANS) many; }
    RESOURCE_SPANS { 1 "resource" Message(RESOURCE); 2 "scopeSpans" Message(SCOPE_SPANS) many; 3 "schemaUrl" Text; }
    SCOPE_SPANS { 1 "scope" Message(SCOPE); 2 "spans" Message(SPAN) many; 3 "schemaUrl" Text; }
    SPAN {
        1 "traceId" Id;
        2 "spanId" Id;
        3 "traceState" Text;
        4 "parentSpanId" Id;
        5 "name" Text;
        6 "kind" Enum;
        7 "startTimeUnixNano" Fixed64;
        8 "endTimeUnixNano" Fixed64;
        9 "attributes" Message(KEY_VALUE) many;
        10 "droppedAttributesCount" UInt32;
        11 "events" Message(EVENT) many;
        12 "droppedEventsCount" UInt32;
        13 "links" Message(LINK) many;
        14 "droppedLinksCount" UInt32;
        15 "status" Message(STATUS);
        16 "flags" Fixed32;
    }
    EVENT { 1 "timeUnixNano" Fixed64; 2 "name" Text; 3 "attributes" Message(KEY_VALUE) many; 4 "droppedAttributesCount" UInt32; }
    LINK {
        1 "traceId" Id;
        2 "spanId" Id;
        3 "traceState" Text;
        4 "attributes" Message(KEY_VALUE) many;
        5 "droppedAttributesCount" UInt32;
        6 "flags" Fixed32;
    }
    STATUS { 2 "message" Text; 3 "code" Enum; }
    METRICS { 1 "resourceMetrics" Message(RESOURCE_METRICS) many; }
    RESOURCE_METRICS { 1 "resource" Message(RESOURCE); 2 "scopeMetrics" Message(SCOPE_METRICS) many; 3 "schemaUrl" Text; }
    SCOPE_METRICS { 1 "scope" Message(SCOPE); 2 "metrics" Message(METRIC) many; 3 "schemaUrl" Text; }
    METRIC {
        1 "name" Text;
        2 "description" Text;
        3 "unit" Text;
        5 "gauge" Message(GAUGE);
        7 "sum" Message(SUM);
        9 "histogram" Message(HISTOGRAM);
        10 "exponentialHistogram" Message(EXPONENTIAL_HISTOGRAM);
        11 "summary" Message(SUMMARY);
        12 "metadata" Message(KEY_VALUE) many;
    }
    GAUGE { 1 "dataPoints" Message(NUMBER_POINT) many; }
    SUM { 1 "dataPoints" Message(NUMBER_POINT) many; 2 "aggregationTemporality" Enum; 3 "isMonotonic" Bool; }
    HISTOGRAM { 1 "dataPoints" Message(HISTOGRAM_POINT) many; 2 "aggregationTemporality" Enum; }
    EXPONENTIAL_HISTOGRAM { 1 "dataPoints" Message(EXPONENTIAL_POINT) many; 2 "aggregationTemporality" Enum; }
    SUMMARY { 1 "dataPoints" Message(SUMMARY_POINT) many; }
    NUMBER_POINT {
        2 "startTimeUnixNano" Fixed64;
        3 "timeUnixNano" Fixed64;
        4 "asDouble" Double;
        5 "exemplars" Message(EXEMPLAR) many;
        6 "asInt" SFixed64;
        7 "attributes" Message(KEY_VALUE) many;
        8 "flags" UInt32;
    }
    HISTOGRAM_POINT {
        2 "startTimeUnixNano" Fixed64;
        3 "timeUnixNano" Fixed64;
        4 "count" Fixed64;
        5 "sum" Double;
        6 "bucketCounts" Fixed64 many;
        7 "explicitBounds" Double many;
        8 "exemplars" Message(EXEMPLAR) many;
        9 "attributes" Message(KEY_VALUE) many;
        10 "flags" UInt32;
        11 "min" Double;
        12 "max" Double;
    }
    EXPONENTIAL_POINT {
        1 "attributes" Message(KEY_VALUE) many;
        2 "startTimeUnixNano" Fixed64;
        3 "timeUnixNano" Fixed64;
        4 "count" Fixed64;
        5 "sum" Double;
        6 "scale" SInt32;
        7 "zeroCount" Fixed64;
        8 "positive" Message(BUCKETS);
        9 "negative" Message(BUCKETS);
        10 "flags" UInt32;
        11 "exemplars" Message(EXEMPLAR) many;
        12 "min" Double;
        13 "max" Double;
        14 "zeroThreshold" Double;
    }
    BUCKETS { 1 "offset" SInt32; 2 "bucketCounts" UInt64 many; }
    SUMMARY_POINT {
        2 "startTimeUnixNano" Fixed64;
        3 "timeUnixNano" Fixed64;
        4 "count" Fixed64;
        5 "sum" Double;
        6 "quantileValues" Message(QUANTILE) many;
        7 "attributes" Message(KEY_VALUE) many;
        8 "flags" UInt32;
    }
    QUANTILE { 1 "quantile" Double; 2 "value" Double; }
    EXEMPLAR {
        2 "timeUnixNano" Fixed64;
        3 "asDouble" Double;
        4 "spanId" Id;
        5 "traceId" Id;
        6 "asInt" SFixed64;
        7 "filteredAttributes" Message(KEY_VALUE) many;
    }
    LOGS { 1 "resourceLogs" Message(RESOURCE_LOGS) many; }
    RESOURCE_LOGS { 1 "resource" Message(RESOURCE); 2 "scopeLogs" Message(SCOPE_LOGS) many; 3 "schemaUrl" Text; }
    SCOPE_LOGS { 1 "scope" Message(SCOPE); 2 "logRecords" Message(LOG_RECORD) many; 3 "schemaUrl" Text; }
    PROFILES { 1 "resourceProfiles" Message(RESOURCE_PROFILES) many; 2 "dictionary" Message(DICTIONARY); }
    RESOURCE_PROFILES { 1 "resource" Message(RESOURCE); 2 "scopeProfiles" Message(SCOPE_PROFILES) many; 3 "schemaUrl" Text; }
    SCOPE_PROFILES { 1 "scope" Message(SCOPE); 2 "profiles" Message(PROFILE) many; 3 "schemaUrl" Text; }
    PROFILE {
        1 "sampleType" Message(VALUE_TYPE);
        2 "samples" Message(SAMPLE) many;
        3 "timeUnixNano" Fixed64;
        4 "durationNano" UInt64;
        5 "periodType" Message(VALUE_TYPE);
        6 "period" Int64;
        7 "profileId" Id;
        8 "droppedAttributesCount" UInt32;
        9 "originalPayloadFormat" Text;
        10 "originalPayload" Bytes;
        11 "attributeIndices" Int32 many;
    }
    VALUE_TYPE { 1 "typeStrindex" Int32; 2 "unitStrindex" Int32; }
    SAMPLE {
        1 "stackIndex" Int32;
        2 "attributeIndices" Int32 many;
        3 "linkIndex" Int32;
        4 "values" Int64 many;
        5 "timestampsUnixNano" Fixed64 many;
    }
    DICTIONARY {
        1 "mappingTable" Message(MAPPING) many;
        2 "locationTable" Message(LOCATION) many;
        3 "functionTable" Message(FUNCTION) many;
        4 "linkTable" Message(PROFILE_LINK) many;
        5 "stringTable" Text many;
        6 "attributeTable" Message(KEY_VALUE_AND_UNIT) many;
        7 "stackTable" Message(STACK) many;
    }
    MAPPING {
        1 "memoryStart" UInt64;
        2 "memoryLimit" UInt64;
        3 "fileOffset" UInt64;
        4 "filenameStrindex" Int32;
        5 "attributeIndices" Int32 many;
    }
    LOCATION { 1 "mappingIndex" Int32; 2 "address" UInt64; 3 "lines" Message(LINE) many; 4 "attributeIndices" Int32 many; }
    LINE { 1 "functionIndex" Int32; 2 "line" Int64; 3 "column" Int64; }
    FUNCTION { 1 "nameStrindex" Int32; 2 "systemNameStrindex" Int32; 3 "filenameStrindex" Int32; 4 "startLine" Int64; }
    PROFILE_LINK { 1 "traceId" Id; 2 "spanId" Id; }
    KEY_VALUE_AND_UNIT { 1 "keyStrindex" Int32; 2 "value" Message(ANY_VALUE); 3 "unitStrindex" Int32; }
    STACK { 1 "locationIndices" Int32 many; }
    LOG_RECORD {
        1 "timeUnixNano" Fixed64;
        2 "severityNumber" Enum;
        3 "severityText" Text;
        5 "body" Message(ANY_VALUE);
        6 "attributes" Message(KEY_VALUE) many;
        7 "droppedAttributesCount" UInt32;
        8 "flags" Fixed32;
        9 "traceId" Id;
        10 "spanId" Id;
        11 "observedTimeUnixNano" Fixed64;
        12 "eventName" Text;
    }
}
