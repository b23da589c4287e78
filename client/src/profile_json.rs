//! OTLP/JSON of profiles; called by `json`. Tables keep their place: index 0 is an empty object.

use crate::json::{any, base64, hex, in_resource, in_scope};
use geophone_proto::otlp::{
    collector::profiles::v1development::ExportProfilesServiceRequest,
    profiles::v1development::{Location, Profile, ProfilesDictionary, Sample, ValueType},
};
use serde_json::{Value, json};

/// The request as one JSON value.
pub(crate) fn request(request: &ExportProfilesServiceRequest) -> Value {
    let groups = request.resource_profiles.iter().map(|group| {
        let scopes =
            group.scope_profiles.iter().map(|part| in_scope(part.scope.as_ref(), &part.schema_url, "profiles", &part.profiles, profile));
        in_resource(group.resource.as_ref(), &group.schema_url, "scopeProfiles", scopes.collect())
    });
    let groups: Vec<Value> = groups.collect();
    match &request.dictionary {
        Some(tables) => json!({"resourceProfiles": groups, "dictionary": dictionary(tables)}),
        None => json!({ "resourceProfiles": groups }),
    }
}

fn long<T: ToString>(numbers: &[T]) -> Vec<String> {
    numbers.iter().map(T::to_string).collect()
}

fn value_type(of: Option<&ValueType>) -> Value {
    of.map_or(Value::Null, |of| json!({"typeStrindex": of.type_strindex, "unitStrindex": of.unit_strindex}))
}

fn sample(sample: &Sample) -> Value {
    json!({
        "stackIndex": sample.stack_index,
        "attributeIndices": sample.attribute_indices,
        "linkIndex": sample.link_index,
        "values": long(&sample.values),
        "timestampsUnixNano": long(&sample.timestamps_unix_nano),
    })
}

fn profile(profile: &Profile) -> Value {
    json!({
        "sampleType": value_type(profile.sample_type.as_ref()),
        "samples": profile.samples.iter().map(sample).collect::<Vec<_>>(),
        "timeUnixNano": profile.time_unix_nano.to_string(),
        "durationNano": profile.duration_nano.to_string(),
        "periodType": value_type(profile.period_type.as_ref()),
        "period": profile.period.to_string(),
        "profileId": hex(&profile.profile_id),
        "droppedAttributesCount": profile.dropped_attributes_count,
        "originalPayloadFormat": profile.original_payload_format,
        "originalPayload": base64(&profile.original_payload),
        "attributeIndices": profile.attribute_indices,
    })
}

fn location(location: &Location) -> Value {
    let line = |line: &geophone_proto::otlp::profiles::v1development::Line| json!({"functionIndex": line.function_index, "line": line.line.to_string(), "column": line.column.to_string()});
    json!({
        "mappingIndex": location.mapping_index,
        "address": location.address.to_string(),
        "lines": location.lines.iter().map(line).collect::<Vec<_>>(),
        "attributeIndices": location.attribute_indices,
    })
}

fn dictionary(tables: &ProfilesDictionary) -> Value {
    let mappings = tables.mapping_table.iter().map(|one| {
        json!({
            "memoryStart": one.memory_start.to_string(),
            "memoryLimit": one.memory_limit.to_string(),
            "fileOffset": one.file_offset.to_string(),
            "filenameStrindex": one.filename_strindex,
            "attributeIndices": one.attribute_indices,
        })
    });
    let functions = tables.function_table.iter().map(|one| {
        json!({
            "nameStrindex": one.name_strindex,
            "systemNameStrindex": one.system_name_strindex,
            "filenameStrindex": one.filename_strindex,
            "startLine": one.start_line.to_string(),
        })
    });
    let links = tables.link_table.iter().map(|one| json!({"traceId": hex(&one.trace_id), "spanId": hex(&one.span_id)}));
    let attributes = tables.attribute_table.iter().map(|one| {
        json!({"keyStrindex": one.key_strindex, "value": one.value.as_ref().map_or(Value::Null, any), "unitStrindex": one.unit_strindex})
    });
    let stacks = tables.stack_table.iter().map(|one| json!({"locationIndices": one.location_indices}));
    json!({
        "mappingTable": mappings.collect::<Vec<_>>(),
        "locationTable": tables.location_table.iter().map(location).collect::<Vec<_>>(),
        "functionTable": functions.collect::<Vec<_>>(),
        "linkTable": links.collect::<Vec<_>>(),
        "stringTable": tables.string_table,
        "attributeTable": attributes.collect::<Vec<_>>(),
        "stackTable": stacks.collect::<Vec<_>>(),
    })
}
