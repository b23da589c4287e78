//! The two outer levels that all signals share: resources, and scopes within them.
//!
//! A resource may come after its rows (the Collector writes so), so each resource message is passed
//! twice: once for the resource, once for the rows. Resources and scopes without rows are no rows.

use super::{
    WalkError,
    check::{self, Flaw, Reason},
    dictionary::plain_pair,
    fill::Cells,
    refused::{Refused, Rejected},
    schema,
    slab::{Slab, room},
    wire::{DEPTH_MAX, Reader},
};
use geophone_proto::columns::{Resources, Scopes};
use std::cell::Cell;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Levels that may lie below a resource message, a scope message and a row.
const RESOURCE_LEFT: u32 = DEPTH_MAX - 1;
const SCOPE_LEFT: u32 = DEPTH_MAX - 2;
pub(crate) const ROW_LEFT: u32 = DEPTH_MAX - 3;

/// Seed of the hash of resources; never change it.
const SEED: u64 = 0x6765_6f70_686f_6e65;

/// Columns may grow to this many times the wire bytes and this many bytes more; remote input
/// chooses both how many points a metric has and how long the name is that each repeats.
const EXPANSION: usize = 32;
const EXPANSION_FREE_BYTES: usize = 4 << 20;
const EXPANSION_BYTES_MAX: usize = 1 << 30;
/// Rows past the allowance.
pub(crate) const EXPANSION_EXCEEDED: Reason = "expansion";

/// What a signal does with field 2 of a scope message.
pub(crate) trait Rows {
    /// Takes a span, metric or log record; broken framing ends the walk.
    fn take(&mut self, bytes: &[u8], place: &mut Place<'_>) -> Result<(), WalkError>;
}

/// Asked before columns grow to so many bytes in all; false ends the walk.
pub(crate) type Grant<'g> = &'g mut dyn FnMut(usize) -> bool;

/// Columns are granted so much at once beyond what is needed, and a quarter of that.
const GRANT_AHEAD_BYTES: usize = 4 << 10;

thread_local! {
    /// What an earlier request of this thread grew, empty.
    static SPARE: Cell<Option<Box<Grown>>> = const { Cell::new(None) };
}

/// More than this is not kept for the next request of the thread.
const KEPT_BYTES_MAX: usize = 256 << 10;

/// Resources that are remembered, and the largest.
const KNOWN_MAX: usize = 32;
const KNOWN_BYTES_MAX: usize = 2 << 10;

/// What grows while resources and scopes are read.
struct Grown {
    resources: ResourceCells,
    scopes: [Cells; 2],
    origin: Origin,
    scope_texts: [Vec<u8>; 2],
    /// By hash of their bytes.
    known: [Known; KNOWN_MAX],
}

/// A resource without flaw that an earlier request had: senders repeat theirs in each.
#[derive(Default)]
struct Known {
    bytes: Vec<u8>,
    attributes: Vec<u8>,
    origin: Origin,
}

impl Grown {
    fn empty() -> Self {
        let resources = ResourceCells { texts: std::array::from_fn(|_| Cells::new()), attributes: Cells::new(), hashes: Vec::new() };
        let known = std::array::from_fn(|_| Known::default());
        Self { resources, scopes: std::array::from_fn(|_| Cells::new()), origin: Origin::default(), scope_texts: Default::default(), known }
    }

    /// Leaves itself to the next request of this thread.
    fn keep(mut self: Box<Self>) {
        let ResourceCells { texts, attributes, hashes } = &mut self.resources;
        let mut held = 0;
        texts.iter_mut().chain([attributes]).chain(&mut self.scopes).for_each(|cells| {
            held += cells.held();
            cells.clear();
        });
        hashes.clear();
        if held <= KEPT_BYTES_MAX {
            SPARE.set(Some(self));
        }
    }
}

/// Where the walk stands: current resource and scope, what was refused, what may still be added.
pub(crate) struct Place<'g> {
    grown: Box<Grown>,
    resource: Option<u32>,
    scope: Option<u32>,
    /// A flaw of resource or scope: all rows below have it.
    pub(crate) inherited: Flaw,
    pub(crate) refused: Refused,
    allowance: usize,
    /// Strings that attributes may point to: those of a request of profiles, else none.
    strings: Vec<String>,
    spent: usize,
    granted: usize,
    grant: Option<Grant<'g>>,
}

struct ResourceCells {
    texts: [Cells; 4],
    attributes: Cells,
    hashes: Vec<u64>,
}

/// The resource's attributes that have a column; `instance` by rank.
#[derive(Default)]
struct Origin {
    service: Vec<u8>,
    namespace: Vec<u8>,
    version: Vec<u8>,
    instance: [Vec<u8>; 3],
    hash: u64,
}

impl Origin {
    fn clear(&mut self) {
        let Self { service, namespace, version, instance, hash } = self;
        [service, namespace, version].into_iter().for_each(Vec::clear);
        instance.iter_mut().for_each(Vec::clear);
        *hash = 0;
    }

    /// Says what the other says, in its own memory.
    fn copy(&mut self, other: &Self) {
        let Self { service, namespace, version, instance, hash } = self;
        let texts = [(service, &other.service), (namespace, &other.namespace), (version, &other.version)];
        texts.into_iter().chain(instance.iter_mut().zip(&other.instance)).for_each(|(text, other)| replace(text, other));
        *hash = other.hash;
    }
}

fn replace(text: &mut Vec<u8>, by: &[u8]) {
    text.clear();
    text.extend_from_slice(by);
}

impl<'g> Place<'g> {
    /// At the beginning of a request; without a `grant` the allowance alone bounds the columns.
    pub(crate) fn new(wire_bytes: usize, grant: Option<Grant<'g>>) -> Self {
        Self {
            grown: SPARE.take().unwrap_or_else(|| Box::new(Grown::empty())),
            resource: None,
            scope: None,
            inherited: Flaw::default(),
            refused: Refused::default(),
            allowance: wire_bytes.saturating_mul(EXPANSION).saturating_add(EXPANSION_FREE_BYTES).min(EXPANSION_BYTES_MAX),
            strings: Vec::new(),
            spent: 0,
            granted: if grant.is_some() { 0 } else { usize::MAX },
            grant,
        }
    }

    /// The same for a request whose attributes may point to strings.
    pub(crate) fn with_strings(self, strings: Vec<String>) -> Self {
        Self { strings, ..self }
    }

    /// Makes sure that the columns may grow by so many bytes.
    #[inline]
    pub(crate) fn spend(&mut self, bytes: usize) -> Result<(), WalkError> {
        self.spent = self.spent.saturating_add(bytes);
        if self.spent > self.granted { self.ask() } else { Ok(()) }
    }

    #[cold]
    fn ask(&mut self) -> Result<(), WalkError> {
        let ahead = self.spent.saturating_add(self.spent / 4).saturating_add(GRANT_AHEAD_BYTES);
        let Some(grant) = &mut self.grant else { return Ok(()) };
        self.granted = [ahead, self.spent].into_iter().find(|bytes| grant(*bytes)).ok_or(WalkError::NotGranted)?;
        Ok(())
    }

    /// Takes bytes off the allowance; false where they are more than is left.
    pub(crate) fn allow(&mut self, bytes: usize) -> bool {
        match self.allowance.checked_sub(bytes) {
            Some(left) => {
                self.allowance = left;
                true
            }
            None => false,
        }
    }

    /// The rows of the current resource and scope, which exist from the first accepted row on.
    pub(crate) fn rows(&mut self) -> (u32, u32) {
        let Grown { resources, scopes, origin, scope_texts, .. } = &mut *self.grown;
        let resource = *self.resource.get_or_insert_with(|| resources.push(origin));
        let scope = *self.scope.get_or_insert_with(|| {
            let row = scopes[0].len();
            scopes.iter_mut().zip(scope_texts).for_each(|(cells, text)| cells.push(text));
            row
        });
        (resource, scope)
    }

    /// Reads the first `Resource` message of a parent, or remembers it.
    fn begin_resource(&mut self, bytes: &[u8]) -> Result<(), WalkError> {
        if bytes.len() > KNOWN_BYTES_MAX || self.inherited.0.is_some() || !self.strings.is_empty() {
            return self.absorb_resource(bytes);
        }
        #[allow(clippy::cast_possible_truncation, reason = "any bits of a hash will do")]
        let slot = xxh3_64_with_seed(bytes, SEED) as usize % KNOWN_MAX;
        let Grown { resources, origin, known, .. } = &mut *self.grown;
        if !bytes.is_empty() && known[slot].bytes == bytes {
            resources.attributes.bytes.extend_from_slice(&known[slot].attributes);
            origin.copy(&known[slot].origin);
            return Ok(());
        }
        self.absorb_resource(bytes)?;
        if self.inherited.0.is_none() {
            let Grown { resources, origin, known, .. } = &mut *self.grown;
            let Known { bytes: known_bytes, attributes, origin: known_origin } = &mut known[slot];
            replace(known_bytes, bytes);
            replace(attributes, resources.attributes.open());
            known_origin.copy(origin);
        }
        Ok(())
    }

    /// Reads one `Resource` message; several of one parent are merged as protobuf says.
    fn absorb_resource(&mut self, bytes: &[u8]) -> Result<(), WalkError> {
        let left = RESOURCE_LEFT - 1;
        let mut reader = Reader::new(bytes, left);
        while let Some((number, value)) = reader.next()? {
            match (number, schema::RESOURCE.by_number(number)) {
                (1, _) => self.absorb_attribute(value.bytes()?, reader.framed(), left)?,
                (_, Some(known)) => check::field(known, value, left, &mut self.inherited)?,
                (_, None) => {}
            }
        }
        Ok(())
    }

    fn absorb_attribute(&mut self, bytes: &[u8], framed: &[u8], left: u32) -> Result<(), WalkError> {
        let plain;
        let mut bytes = bytes;
        if self.strings.is_empty() {
            self.grown.resources.attributes.item(framed);
        } else {
            plain = plain_pair(bytes, &self.strings)?;
            self.grown.resources.attributes.message(&plain);
            bytes = &plain;
        }
        let pair = check::pair(bytes, left, &mut self.inherited)?;
        let slot = match pair.key {
            b"service.name" => Some(&mut self.grown.origin.service),
            b"service.namespace" => Some(&mut self.grown.origin.namespace),
            b"service.version" => Some(&mut self.grown.origin.version),
            b"service.instance.id" => Some(&mut self.grown.origin.instance[0]),
            b"k8s.pod.name" => Some(&mut self.grown.origin.instance[1]),
            b"host.name" => Some(&mut self.grown.origin.instance[2]),
            _ => None,
        };
        if let Some(slot) = slot {
            replace(slot, pair.text.unwrap_or_default());
        }
        // A sum does not depend on the order of the attributes.
        self.grown.origin.hash = self.grown.origin.hash.wrapping_add(xxh3_64_with_seed(bytes, SEED));
        Ok(())
    }

    /// Reads one `InstrumentationScope` message.
    fn absorb_scope(&mut self, bytes: &[u8]) -> Result<(), WalkError> {
        let left = SCOPE_LEFT - 1;
        let mut reader = Reader::new(bytes, left);
        while let Some((number, value)) = reader.next()? {
            let Some(known) = schema::SCOPE.by_number(number) else { continue };
            check::field(known, value, left, &mut self.inherited)?;
            if let Some(text) = usize::try_from(number).ok().and_then(|at| self.grown.scope_texts.get_mut(at - 1)) {
                replace(text, value.bytes()?);
            }
        }
        Ok(())
    }

    /// The tables that rows point into, and the refused rows.
    pub(crate) fn finish(self) -> Result<(Resources, Scopes, Vec<Rejected>), WalkError> {
        let Grown { resources: ResourceCells { texts, attributes, hashes }, scopes, .. } = &*self.grown;
        let cells = texts.iter().chain([attributes]).chain(scopes);
        let mut slab = Slab::new(room(hashes) + cells.map(Cells::room).sum::<usize>());
        let hashes = slab.put(hashes);
        let [service, namespace, version, instance] = texts.each_ref().map(|it| slab.cells(it));
        let attributes = slab.cells(attributes);
        let [scope, scope_version] = scopes.each_ref().map(|it| slab.cells(it));
        let laid = slab.finish();
        let resources = Resources::from_columns(
            laid.bytes(),
            (
                laid.texts(service)?,
                laid.texts(namespace)?,
                laid.texts(version)?,
                laid.texts(instance)?,
                laid.numbers(hashes),
                laid.bytes_of(attributes)?,
            ),
        )?;
        let scopes = Scopes::from_columns(0, (laid.texts(scope)?, laid.texts(scope_version)?))?;
        self.grown.keep();
        Ok((resources, scopes, self.refused.0))
    }
}

impl ResourceCells {
    fn push(&mut self, origin: &Origin) -> u32 {
        let row = self.attributes.len();
        let service = if origin.service.is_empty() { b"unknown_service".as_slice() } else { &origin.service };
        let instance = origin.instance.iter().find(|text| !text.is_empty()).map_or(b"".as_slice(), Vec::as_slice);
        let texts = [service, &origin.namespace, &origin.version, instance];
        self.texts.iter_mut().zip(texts).for_each(|(cells, text)| cells.push(text));
        self.attributes.seal();
        self.hashes.push(origin.hash);
        row
    }
}

/// One request on its way through the two outer levels.
pub(crate) struct Envelope<'p, 'g, R> {
    pub(crate) place: &'p mut Place<'g>,
    pub(crate) rows: &'p mut R,
}

impl<R: Rows> Envelope<'_, '_, R> {
    /// Walks the request message.
    pub(crate) fn walk(&mut self, wire: &[u8]) -> Result<(), WalkError> {
        let mut reader = Reader::new(wire, DEPTH_MAX);
        while let Some((number, value)) = reader.next()? {
            if number == 1 {
                self.resource(value.bytes()?)?;
            }
        }
        Ok(())
    }

    fn resource(&mut self, bytes: &[u8]) -> Result<(), WalkError> {
        self.place.resource = None;
        self.place.grown.origin.clear();
        self.place.inherited = Flaw::default();
        let mut reader = Reader::new(bytes, RESOURCE_LEFT);
        let mut has_begun = false;
        while let Some((number, value)) = reader.next()? {
            match number {
                1 if !std::mem::replace(&mut has_begun, true) => self.place.begin_resource(value.bytes()?)?,
                1 => self.place.absorb_resource(value.bytes()?)?,
                3 => self.place.inherited.text(value.bytes()?),
                _ => {}
            }
        }
        let of_resource = self.place.inherited;
        let mut reader = Reader::new(bytes, RESOURCE_LEFT);
        while let Some((number, value)) = reader.next()? {
            if number == 2 {
                self.place.inherited = of_resource;
                self.scope(value.bytes()?)?;
            }
        }
        if self.place.resource.is_none() {
            self.place.grown.resources.attributes.cancel();
        }
        Ok(())
    }

    fn scope(&mut self, bytes: &[u8]) -> Result<(), WalkError> {
        self.place.scope = None;
        self.place.grown.scope_texts.iter_mut().for_each(Vec::clear);
        let mut reader = Reader::new(bytes, SCOPE_LEFT);
        while let Some((number, value)) = reader.next()? {
            match number {
                1 => self.place.absorb_scope(value.bytes()?)?,
                3 => self.place.inherited.text(value.bytes()?),
                _ => {}
            }
        }
        let mut reader = Reader::new(bytes, SCOPE_LEFT);
        while let Some((number, value)) = reader.next()? {
            if number == 2 {
                self.rows.take(value.bytes()?, self.place)?;
            }
        }
        Ok(())
    }
}
