//! Rows of `spans` on their way into a row group. Says what `tables::span_column` says, column by column; a test
//! compares them.

use super::{
    pages::{Listed, Pressed, Shared, Worded},
    words::Words,
};
use crate::parquet::{
    json_text::{attributes, events, key_of_member, member, members},
    tables::signed,
};
use geophone_proto::{
    Batch, Columns,
    columns::{Spans, span_kind_str, status_str},
};
use std::collections::HashSet;

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
    kind: Worded,
    start_ns: Vec<i64>,
    end_ns: Vec<i64>,
    duration_ns: Vec<i64>,
    status: Worded,
    status_message: Worded,
    route: Worded,
    peer: Worded,
    attributes: Attributes,
    events: Worded,
    of_resource: [Shared; OF_RESOURCE],
    scope: Shared,
    scratch: String,
}

impl SpanPress {
    /// Bytes of distinct texts so far: what a row group of unlike rows must be bounded by.
    pub(crate) fn text_bytes(&self) -> usize {
        self.attributes.list.words.page_bytes()
            + [&self.name, &self.status_message, &self.route, &self.peer, &self.events]
                .map(|it| it.words.page_bytes())
                .iter()
                .sum::<usize>()
    }

    /// Takes rows of a batch of spans: all, or those listed.
    pub(crate) fn push(&mut self, batch: &Batch, rows: Option<&[u32]>) {
        let Columns::Traces(spans) = &batch.columns else { return };
        let rows = Picked { rows, count: spans.len() };
        self.ids(spans, rows);
        self.times(spans, rows);
        let (names, routes, peers, messages) = (spans.name(), spans.route(), spans.peer(), spans.status_message());
        rows.each(|row| self.name.text(names.value(row)));
        rows.each(|row| self.route.text(routes.value(row)));
        rows.each(|row| self.peer.text(peers.value(row)));
        rows.each(|row| self.status_message.text(messages.value(row)));
        let (kinds, statuses) = (spans.kind().values(), spans.status().values());
        rows.each(|row| self.kind.text(span_kind_str(kinds[row])));
        rows.each(|row| self.status.text(status_str(statuses[row])));
        let (cells, scratch) = (spans.attributes(), &mut self.scratch);
        rows.each(|row| self.attributes.row(cells.value(row), scratch));
        let (cells, scratch) = (spans.events(), &mut self.scratch);
        rows.each(|row| {
            let cell = cells.value(row);
            self.events.push(cell, |page| written(scratch, page, |out| events(cell, out)));
        });
        let (resources, scopes, mut owners) = (spans.resource().values(), spans.scope().values(), Owners::default());
        rows.each(|row| self.owners(batch, (resources[row], scopes[row]), &mut owners));
    }

    fn ids(&mut self, spans: &Spans, rows: Picked<'_>) {
        let (traces, ids, parents) = (spans.trace_id(), spans.span_id(), spans.parent_span_id());
        rows.each(|row| {
            let trace = traces.value(row);
            self.trace_id.push(trace, |page| hex_bytes(trace, page));
        });
        rows.each(|row| plain_hex(ids.value(row), &mut self.span_id));
        rows.each(|row| plain_hex(parents.value(row), &mut self.parent_span_id));
    }

    fn times(&mut self, spans: &Spans, rows: Picked<'_>) {
        let (starts, ends) = (spans.start_ns().values(), spans.end_ns().values());
        rows.each(|row| {
            let (start, end) = (signed(starts[row]), signed(ends[row]));
            self.rows += 1;
            self.start_ns.push(start);
            self.end_ns.push(end);
            self.duration_ns.push(end.saturating_sub(start));
        });
    }

    /// What belongs to a resource or a scope: looked up once for each of a batch.
    fn owners(&mut self, batch: &Batch, (resource, scope): (u32, u32), owners: &mut Owners) {
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
            self.of_resource.iter_mut().zip(numbers).for_each(|(column, number)| column.push(number, 1));
            self.scope.push(scope, 1);
        }
    }

    /// The columns in the order of the table, and how many rows; empty again.
    pub(crate) fn take(&mut self) -> (usize, Vec<Pressed>) {
        let take = std::mem::take::<Vec<i64>>;
        let [service, resource, version, instance, tenant] = &mut self.of_resource;
        let columns = vec![
            self.trace_id.take(),
            Pressed::Texts(std::mem::take(&mut self.span_id)),
            Pressed::Texts(std::mem::take(&mut self.parent_span_id)),
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

/// Attributes as lists of JSON members, `"key":value`.
#[derive(Default)]
struct Attributes {
    list: Listed,
    /// Number of each word's key.
    key_of: Vec<u32>,
    keys: Words,
    /// Row in which each key was last met.
    met_in: Vec<u32>,
    row: u32,
}

impl Attributes {
    fn row(&mut self, cell: &[u8], scratch: &mut String) {
        self.row += 1;
        let mut repeats = false;
        for pair in members(cell) {
            let word = self.list.item(pair, |page| {
                written(scratch, page, |out| {
                    if member(pair, out).is_err() {
                        out.clear();
                    }
                });
            }) as usize;
            if word == self.key_of.len() {
                self.key_of.push(self.keys.number(key_of_member(pair), |_| ()));
                self.met_in.resize(self.keys.len(), 0);
            }
            let met_in = &mut self.met_in[self.key_of[word] as usize];
            repeats |= std::mem::replace(met_in, self.row) == self.row;
        }
        if repeats {
            self.keep_last();
        }
        self.list.seal();
    }

    /// Of a repeated key the last value counts.
    fn keep_last(&mut self) {
        let numbers = self.list.open().to_vec();
        let mut seen: HashSet<&[u8]> = HashSet::new();
        let mut kept: Vec<u32> = Vec::with_capacity(numbers.len());
        for number in numbers.iter().rev() {
            if seen.insert(key_of_member(self.list.words.key(*number))) {
                kept.push(*number);
            }
        }
        drop(seen);
        kept.reverse();
        self.list.replace(&kept);
    }

    fn take(&mut self) -> Pressed {
        self.key_of.clear();
        self.met_in.clear();
        self.keys.take();
        self.row = 0;
        self.list.take()
    }
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

/// An id as a plain text: its length, then hex.
fn plain_hex(id: &[u8], page: &mut Vec<u8>) {
    let start = page.len();
    page.extend_from_slice(&[0; 4]);
    hex_bytes(id, page);
    let length = u32::try_from(page.len() - start - 4).expect("an id has eight bytes");
    page[start..start + 4].copy_from_slice(&length.to_le_bytes());
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
