//! Where spans ran, as their attributes say: read from the store before anybody is asked for stacks, because
//! the brain decodes no attributes on the hot path.

use geophone_proto::{
    SpanId,
    stacks::{SpanPlace, StackRequest},
};
use geophone_store::Store;
use serde_json::Value;
use std::sync::Arc;

/// What the resource of a span, or of a profile, says of its machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Home {
    /// `process.pid`, or 0.
    pub pid: u32,
    /// `service.instance.id`, or empty.
    pub instance: String,
    container: Option<String>,
    host_id: Option<String>,
    host_name: Option<String>,
}

/// What all spans of a request say of themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// For the recorder.
    pub places: Vec<SpanPlace>,
    /// Each home once.
    pub homes: Vec<Home>,
    /// Whose spans they are.
    pub tenant: Option<String>,
}

/// A number, also one written as text.
pub fn number(of: &Value, name: &str) -> Option<u32> {
    let value = of.get(name)?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok()).and_then(|number| u32::try_from(number).ok())
}

impl Home {
    /// Read from attributes of a resource, and of a row beside it.
    pub fn of(resource: &Value, attributes: &Value) -> Self {
        let text = |name: &str| {
            let found = resource.get(name).or_else(|| attributes.get(name)).and_then(Value::as_str);
            found.filter(|text| !text.is_empty()).map(str::to_owned)
        };
        Self {
            pid: number(resource, "process.pid").or_else(|| number(attributes, "process.pid")).unwrap_or(0),
            instance: text("service.instance.id").unwrap_or_default(),
            container: text("container.id"),
            host_id: text("host.id"),
            host_name: text("host.name"),
        }
    }

    /// Both name a container, and it is the same.
    pub fn shares_container(&self, other: &Self) -> bool {
        self.container.is_some() && self.container == other.container
    }

    /// Nothing that both say differs. Names of hosts are looked at only without their ids: a container bears one of its own.
    pub fn may_be(&self, other: &Self) -> bool {
        let differs = |one: &Option<String>, two: &Option<String>| one.is_some() && two.is_some() && one != two;
        let both_have_ids = self.host_id.is_some() && other.host_id.is_some();
        !differs(&self.container, &other.container)
            && !differs(&self.host_id, &other.host_id)
            && (both_have_ids || !differs(&self.host_name, &other.host_name))
    }
}

impl Whereabouts {
    /// Reads what the store has of the request's spans.
    pub fn of(store: &Arc<Store>, request: &StackRequest) -> Self {
        let Some(sql) = question(request) else { return Self::default() };
        match store.query(&sql) {
            Ok(rows) => Self::read(&rows.rows),
            Err(error) => {
                // Links by thread and process are lost, tags are not.
                metrics::counter!("geophone_stack_places_failed_total").increment(1);
                tracing::warn!("where the spans ran is unknown: {error}");
                Self::default()
            }
        }
    }

    fn read(rows: &[Vec<Value>]) -> Self {
        let mut whereabouts = Self::default();
        for row in rows {
            let [span_id, attributes, resource, tenant] = &row[..] else { continue };
            let Some(span_id) = span_id.as_str().and_then(SpanId::from_hex) else { continue };
            let home = Home::of(resource, attributes);
            let place =
                SpanPlace { span_id, pid: home.pid, tid: number(attributes, "thread.id").unwrap_or(0), instance: home.instance.clone() };
            if place.pid != 0 || !place.instance.is_empty() {
                whereabouts.places.push(place);
            }
            if !whereabouts.homes.contains(&home) {
                whereabouts.homes.push(home);
            }
            whereabouts.tenant = whereabouts.tenant.or_else(|| tenant.as_str().map(str::to_owned));
        }
        whereabouts
    }
}

/// Attributes of the request's spans; the range of time spares the store most of its files.
fn question(request: &StackRequest) -> Option<String> {
    let spans = || request.flagged.iter().chain(&request.baseline);
    let (from, to) = (spans().map(|span| span.start.0).min()?, spans().map(|span| span.start.0).max()?);
    let ids: Vec<String> = spans().map(|span| format!("'{}'", span.span_id)).collect();
    Some(format!(
        "SELECT span_id, attributes, resource, tenant FROM spans WHERE start_ns >= {from} AND start_ns <= {to} AND span_id IN ({})",
        ids.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn attributes_say_where_a_span_ran() {
        let read = |attributes, resource| Whereabouts::read(&[vec![json!("0102030405060708"), attributes, resource, json!("shop")]]);
        let found = read(json!({"thread.id": 7}), json!({"process.pid": "12", "service.instance.id": "a"}));
        let place = &found.places[0];
        assert_eq!((place.pid, place.tid, place.instance.as_str(), found.tenant.as_deref()), (12, 7, "a", Some("shop")));
        assert!(read(json!({"thread.id": 7}), json!({})).places.is_empty(), "a thread of nobody");
        assert!(read(json!(null), json!({"process.pid": -1})).places.is_empty());
    }

    #[test]
    fn homes_are_told_apart_by_what_both_say() {
        let home = |resource| Home::of(&resource, &json!({}));
        let pod = home(json!({"container.id": "c1", "host.name": "pod-7"}));
        assert!(pod.shares_container(&home(json!({"container.id": "c1", "host.name": "node"}))));
        assert!(!pod.may_be(&home(json!({"container.id": "c2"}))));
        let node = home(json!({"host.id": "n1", "host.name": "node"}));
        assert!(node.may_be(&home(json!({"host.id": "n1", "host.name": "node.example"}))));
        assert!(!node.may_be(&home(json!({"host.name": "elsewhere"}))));
        assert!(node.may_be(&home(json!({}))));
    }
}
