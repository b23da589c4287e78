//! Random wire bytes of any message of `schema`: fields in any order, repeated, split, packed or not,
//! unknown ones and groups between them. `prost` says what they mean.

use crate::walk::{
    schema::{Field, Kind, Message},
    wire::put_varint,
};

/// A small generator of random numbers (SplitMix64), so that a case is one number.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).expect("below a usize")
    }

    /// True once in `n` times.
    pub(crate) fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// Numbers that tests forget: small ones, the largest, any.
    pub(crate) fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => 0,
            1 => u64::MAX,
            2 => self.roll() % 300,
            _ => self.roll(),
        }
    }

    fn double(&mut self) -> f64 {
        match self.below(6) {
            0 => f64::NAN,
            1 => f64::INFINITY,
            2 => -0.0,
            _ => f64::from(u32::try_from(self.roll() % 1000).expect("small")) / 1000.0,
        }
    }

    pub(crate) fn text(&mut self) -> &'static str {
        const TEXTS: [&str; 12] = [
            "",
            "a",
            "service.name",
            "service.instance.id",
            "k8s.pod.name",
            "host.name",
            "http.route",
            "peer.service",
            "server.address",
            "db.system",
            "\u{1f600} caf\u{e9}",
            "a text longer than one hundred and twenty-seven bytes so that its length takes two bytes on the wire, which is a path of its own",
        ];
        TEXTS[self.below(TEXTS.len())]
    }

    pub(crate) fn id(&mut self, len: usize) -> Vec<u8> {
        let len = if self.once_in(12) { self.below(20) } else { len };
        let byte = if self.once_in(12) { 0 } else { 1 + u8::try_from(self.below(2)).expect("small") };
        vec![byte; len]
    }
}

/// Random bytes of a message of this table.
pub(crate) fn message(table: &'static Message, dice: &mut Dice, depth: usize) -> Vec<u8> {
    let mut fields: Vec<Vec<u8>> = Vec::new();
    for known in table.fields {
        let is_message = matches!(known.kind, Kind::Message(_));
        if is_message && depth == 0 {
            continue;
        }
        // The outer levels are never empty for long, ids are mostly there.
        let times = match known.kind {
            Kind::Message(_) if known.many && depth > 2 => 1 + dice.below(2) - usize::from(dice.once_in(6)),
            Kind::Message(_) if known.many => dice.below(3),
            Kind::Id => usize::from(!dice.once_in(20)),
            _ => usize::from(dice.once_in(2)) + usize::from(dice.once_in(12)),
        };
        for _ in 0..times {
            fields.push(field(known, dice, depth));
        }
    }
    if dice.once_in(8) {
        fields.push(unknown(dice));
    }
    if dice.once_in(2) {
        (1..fields.len()).rev().for_each(|last| fields.swap(last, dice.below(last + 1)));
    } else {
        fields.reverse();
    }
    fields.concat()
}

fn key(out: &mut Vec<u8>, number: u32, wire_type: u32) {
    put_varint(out, u64::from(number << 3 | wire_type));
}

fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    key(out, number, 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn field(known: &'static Field, dice: &mut Dice, depth: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let number = known.number;
    match known.kind {
        Kind::Message(inner) => {
            let bytes = message(inner, dice, depth - 1);
            put_bytes(&mut out, number, &bytes);
            // A singular message may come in pieces.
            if !known.many && dice.once_in(8) {
                let more = message(inner, dice, depth - 1);
                put_bytes(&mut out, number, &more);
            }
        }
        Kind::Text => put_bytes(&mut out, number, dice.text().as_bytes()),
        Kind::Bytes => put_bytes(&mut out, number, &[0, 0xff, 0x80][..dice.below(4)]),
        Kind::Id => {
            let len = if known.json == "traceId" { 16 } else { 8 };
            put_bytes(&mut out, number, &dice.id(len));
        }
        Kind::Double | Kind::Fixed64 | Kind::SFixed64 => {
            let mut one = || if matches!(known.kind, Kind::Double) { dice.double().to_bits() } else { dice.number() };
            let numbers = [one(), one(), one()];
            numbers_field(&mut out, known, dice, 1, |out, at| out.extend_from_slice(&numbers[at].to_le_bytes()));
        }
        Kind::Fixed32 => {
            key(&mut out, number, 5);
            out.extend_from_slice(&dice.roll().to_le_bytes()[..4]);
        }
        Kind::Bool | Kind::Enum | Kind::Int32 | Kind::UInt32 | Kind::Int64 | Kind::UInt64 | Kind::SInt32 => {
            let small = matches!(known.kind, Kind::Enum | Kind::SInt32 | Kind::UInt64);
            let mut one = || if small { dice.roll() % 30 } else { dice.number() };
            let numbers = [one(), one(), one()];
            numbers_field(&mut out, known, dice, 0, |out, at| put_varint(out, numbers[at]));
        }
    }
    out
}

/// One number, or for a repeated field up to three, packed or not.
fn numbers_field(out: &mut Vec<u8>, known: &Field, dice: &mut Dice, wire_type: u32, put: impl Fn(&mut Vec<u8>, usize)) {
    let count = if known.many { dice.below(4) } else { 1 };
    if known.many && dice.once_in(2) {
        let mut packed = Vec::new();
        (0..count).for_each(|at| put(&mut packed, at));
        put_bytes(out, known.number, &packed);
    } else {
        for at in 0..count {
            key(out, known.number, wire_type);
            put(out, at);
        }
    }
}

/// A field with a number that nobody knows, or rarely with one that somebody knows differently.
fn unknown(dice: &mut Dice) -> Vec<u8> {
    let mut out = Vec::new();
    let number = if dice.once_in(6) { 1 + dice.below(18) } else { 1000 + dice.below(5000) };
    let number = u32::try_from(number).expect("small");
    match dice.below(5) {
        0 => {
            key(&mut out, number, 0);
            put_varint(&mut out, dice.number());
        }
        1 => {
            key(&mut out, number, 1);
            out.extend_from_slice(&[7; 8]);
        }
        2 => put_bytes(&mut out, number, b"\xff\xfe"),
        3 => {
            key(&mut out, number, 3);
            out.extend_from_slice(&unknown(dice));
            key(&mut out, number, 4);
        }
        _ => {
            key(&mut out, number, 5);
            out.extend_from_slice(&[7; 4]);
        }
    }
    out
}

/// Breaks bytes: cuts, flips, repeats or inserts.
pub(crate) fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=dice.below(3) {
        if bytes.is_empty() {
            return;
        }
        let at = dice.below(bytes.len());
        match dice.below(5) {
            0 => bytes.truncate(at),
            1 => bytes[at] ^= 1 << dice.below(8),
            2 => bytes[at] = u8::try_from(dice.below(256)).expect("a byte"),
            3 => bytes.insert(at, u8::try_from(dice.below(256)).expect("a byte")),
            _ => drop(bytes.remove(at)),
        }
    }
}
