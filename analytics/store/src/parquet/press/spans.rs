//! Rows of `spans` on their way into a row group. Says what `tables::span_column` says, column by column; a test
//! compares them.

use super::{
    pages::{Chosen, Led, Pressed, Shared, Worded, fresh},
    pairs::Pairs,
};
use crate::parquet::{
    json_text::{attributes, events},
    tables::signed,
};
use geophone_proto::{
    Batch, Columns,
    columns::{Spans, span_kind_str, status_str},
};

/// Columns of a resource: service, resource, version, instance, tenant.
const OF_RESOURCE: usize = 5;

/// The columns of `spans`, growing.
#[derive(Default)]
pub(crate) struct SpanPress {
    rows: usize,
    trace_id: Worded,
    span_id: Vec<u8>,
    parent_span_id: Vec<u8>,
    name: Worded,
    kind: Chosen,
    start_ns: Vec<i64>,
    end_ns: Vec<i64>,
    duration_ns: Vec<i64>,
    status: Chosen,
    status_message: Worded,
    route: Led,
    peer: Led,
    attributes: Pairs,
    events: Worded,
    of_resource: [Shared; OF_RESOURCE],
    scope: Shared,
    scratch: String,
}

impl SpanPress {
    /// Bytes of distinct texts so far: what a row group of unlike rows must be bounded by.
    pub(crate) fn text_bytes(&self) -> usize {
        self.attributes.page_bytes()
            + [&self.name, &self.status_message, &self.route.column, &self.peer.column, &self.events]
                .map(|it| it.words.page_bytes())
                .iter()
                .sum::<usize>()
    }

    /// Takes rows of a batch of spans: all, or those listed.
    pub(crate) fn push(&mut self, batch: &Batch, rows: Option<&[u32]>) {
        let Columns::Traces(spans) = &batch.columns else { return };
        let (before, rows) = (self.rows, Picked { rows, count: spans.len() });
        self.rows += rows.len();
        self.ids(spans, rows);
        self.times(spans, rows);
        let (names, routes, peers, messages) = (spans.name(), spans.route(), spans.peer(), spans.status_message());
        self.name.reserve(rows.len());
        rows.each(|row| self.name.text(names.value(row)));
        let mut leaders = self.name.numbers()[before..].iter();
        let mut leader = || *leaders.next().expect("a name for each row was just pushed");
        rows.each(|row| {
            let leader = leader();
            self.route.text(leader, routes.value(row));
            self.peer.text(leader, peers.value(row));
        });
        rows.each(|row| self.status_message.text(messages.value(row)));
        let (kinds, statuses) = (spans.kind().values(), spans.status().values());
        rows.each(|row| self.kind.push(kinds[row], || span_kind_str(kinds[row])));
        rows.each(|row| self.status.push(statuses[row], || status_str(statuses[row])));
        let cells = spans.attributes();
        rows.each(|row| self.attributes.row(cells.value(row)));
        let (cells, scratch) = (spans.events(), &mut self.scratch);
        rows.each(|row| {
            let cell = cells.value(row);
            self.events.push(cell, |page| written(scratch, page, |out| events(cell, out)));
        });
        let (resources, scopes, mut owners) = (spans.resource().values(), spans.scope().values(), Owners::default());
        let mut run = ((0, 0), 0);
        rows.each(|row| {
            let owner = (resources[row], scopes[row]);
            if run.0 != owner {
                self.owners(batch, run, &mut owners);
                run = (owner, 0);
            }
            run.1 += 1;
        });
        self.owners(batch, run, &mut owners);
    }

    fn ids(&mut self, spans: &Spans, rows: Picked<'_>) {
        let (traces, ids, parents) = (spans.trace_id(), spans.span_id(), spans.parent_span_id());
        self.trace_id.reserve(rows.len());
        rows.each(|row| {
            let trace = traces.value(row);
            self.trace_id.push(trace, |page| hex_bytes(trace, page));
        });
        for (ids, page) in [(ids, &mut self.span_id), (parents, &mut self.parent_span_id)] {
            let ids = ids.value_data().as_chunks::<8>().0;
            page.reserve(20 * rows.len());
            rows.each(|row| plain_hex(ids[row], page));
        }
    }

    fn times(&mut self, spans: &Spans, rows: Picked<'_>) {
        let (starts, ends) = (spans.start_ns().values(), spans.end_ns().values());
        for column in [&mut self.start_ns, &mut self.end_ns, &mut self.duration_ns] {
            column.reserve(rows.len());
        }
        rows.each(|row| self.start_ns.push(signed(starts[row])));
        rows.each(|row| self.end_ns.push(signed(ends[row])));
        rows.each(|row| self.duration_ns.push(signed(ends[row]).saturating_sub(signed(starts[row]))));
    }

    /// What belongs to a resource or a scope, for a run of rows: looked up once for each of a batch.
    fn owners(&mut self, batch: &Batch, ((resource, scope), rows): ((u32, u32), u32), owners: &mut Owners) {
        if rows == 0 {
            return;
        }
        let (resources, row) = (&batch.resources, resource as usize);
        if owners.resource.as_ref().is_none_or(|(known, _)| *known != resource) {
            let [service, attributes_of, version, instance, tenant] = &mut self.of_resource;
            let text = |column: &mut Shared, text: &str| column.number(text.as_bytes(), |page| page.extend_from_slice(text.as_bytes()));
            let (cell, scratch) = (resources.attributes().value(row), &mut self.scratch);
            let numbers = [
                text(service, resources.service().value(row)),
                attributes_of.number(cell, |page| written(scratch, page, |out| attributes(cell, out))),
                text(version, resources.version().value(row)),
                text(instance, resources.instance().value(row)),
                text(tenant, &batch.tenant.0),
            ];
            owners.resource = Some((resource, numbers));
        }
        if owners.scope.is_none_or(|(known, _)| known != scope) {
            let name = batch.scopes.name().value(scope as usize);
            owners.scope = Some((scope, self.scope.number(name.as_bytes(), |page| page.extend_from_slice(name.as_bytes()))));
        }
        if let (Some((_, numbers)), Some((_, scope))) = (owners.resource, owners.scope) {
            self.of_resource.iter_mut().zip(numbers).for_each(|(column, number)| column.push(number, rows));
            self.scope.push(scope, rows);
        }
    }

    /// The columns in the order of the table, and how many rows; empty again.
    pub(crate) fn take(&mut self) -> (usize, Vec<Pressed>) {
        let take = fresh::<i64>;
        let [service, resource, version, instance, tenant] = &mut self.of_resource;
        let columns = vec![
            self.trace_id.take(),
            Pressed::Texts(fresh(&mut self.span_id)),
            Pressed::Texts(fresh(&mut self.parent_span_id)),
            service.take(),
            self.name.take(),
            self.kind.take(),
            Pressed::Ints(take(&mut self.start_ns)),
            Pressed::Ints(take(&mut self.end_ns)),
            Pressed::Ints(take(&mut self.duration_ns)),
            self.status.take(),
            self.status_message.take(),
            self.route.take(),
            self.peer.take(),
            self.attributes.take(),
            self.events.take(),
            resource.take(),
            version.take(),
            instance.take(),
            self.scope.take(),
            tenant.take(),
        ];
        (std::mem::take(&mut self.rows), columns)
    }
}

/// All rows of a batch, or some.
#[derive(Clone, Copy)]
struct Picked<'a> {
    rows: Option<&'a [u32]>,
    count: usize,
}

impl Picked<'_> {
    fn len(self) -> usize {
        self.rows.map_or(self.count, <[u32]>::len)
    }

    #[inline]
    fn each(self, mut visit: impl FnMut(usize)) {
        match self.rows {
            Some(rows) => rows.iter().for_each(|row| visit(*row as usize)),
            None => (0..self.count).for_each(visit),
        }
    }
}

/// Resource and scope of the row before, with the numbers of their texts.
#[derive(Default)]
struct Owners {
    resource: Option<(u32, [u32; OF_RESOURCE])>,
    scope: Option<(u32, u32)>,
}

/// Lets `write` write to a string and puts that into a page.
fn written(scratch: &mut String, page: &mut Vec<u8>, write: impl FnOnce(&mut String)) {
    scratch.clear();
    write(scratch);
    page.extend_from_slice(scratch.as_bytes());
}

/// An id in hex; all zeros, which mean "none", as nothing.
fn hex_bytes(id: &[u8], page: &mut Vec<u8>) {
    let (eights, rest) = id.as_chunks::<8>();
    if rest.is_empty() && eights.iter().any(|eight| *eight != [0; 8]) {
        eights.iter().for_each(|eight| page.extend_from_slice(&hex_of(*eight)));
    }
}

/// Eight bytes as sixteen digits, all at once: halves of bytes are spread over a word, then made digits.
fn hex_of(eight: [u8; 8]) -> [u8; 16] {
    let bits = u128::from(u64::from_be_bytes(eight));
    // Each half byte in a byte of its own, the first on top.
    let spread = |bits: u128, by: u32, mask: u128| (bits | bits << by) & mask;
    let bits = spread(bits, 32, 0x0000_0000_ffff_ffff_0000_0000_ffff_ffff);
    let bits = spread(bits, 16, 0x0000_ffff_0000_ffff_0000_ffff_0000_ffff);
    let bits = spread(bits, 8, 0x00ff_00ff_00ff_00ff_00ff_00ff_00ff_00ff);
    let halves = spread(bits, 4, 0x0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f_0f0f);
    // Ten and more are letters: 6 more make them carry into the upper half.
    let letters = ((halves + 0x0606_0606_0606_0606_0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101_0101_0101_0101_0101;
    (halves + 0x3030_3030_3030_3030_3030_3030_3030_3030 + letters * 39).to_be_bytes()
}

/// An id as a plain text: its length, then hex; zeros are an empty one.
#[inline]
fn plain_hex(id: [u8; 8], page: &mut Vec<u8>) {
    let mut text = [0; 20];
    if id == [0; 8] {
        page.extend_from_slice(&text[..4]);
    } else {
        text[0] = 16;
        text[4..].copy_from_slice(&hex_of(id));
        page.extend_from_slice(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digits_are_those_of_the_bytes(eight in any::<[u8; 8]>()) {
            let wanted: String = eight.iter().map(|byte| format!("{byte:02x}")).collect();
            let digits = hex_of(eight);
            prop_assert_eq!(digits.as_slice(), wanted.as_bytes());
        }
    }
}
