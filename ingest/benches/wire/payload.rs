//! Requests as they go over the wire, made once and stamped anew each time: ids never repeat, times are now.
//!
//! 2 resources of 10 attributes, 10 attributes a span (7 texts, 3 numbers, one of them unlike any other), events on
//! every twentieth; 20 services, 8 operations, 5 kinds: 800 series; about 455 B a span. Traces of ten spans, each
//! the parent of the next. Half of the requests have their fields in ascending order, as SDKs write them, half in
//! descending order, as the Collector does.

/// Different requests of one size.
const TEMPLATES: u64 = 40;
/// Spans of one trace.
const TRACE: u64 = 10;

/// A request with holes for ids and times.
pub struct Template {
    bytes: Vec<u8>,
    holes: Vec<Hole>,
}

/// Eight or sixteen bytes of a span that are put in anew each time.
#[derive(Clone, Copy)]
struct Hole {
    what: What,
    /// Which span of the request.
    number: u64,
    duration_ns: u64,
    at: usize,
}

#[derive(Clone, Copy)]
enum What {
    Trace,
    Span,
    Parent,
    Start,
    End,
    /// Sixteen digits of the attribute that no two spans share.
    Unique,
}

/// Bytes, and the holes in them.
type Written = (Vec<u8>, Vec<Hole>);

fn moved(holes: Vec<Hole>, by: usize) -> impl Iterator<Item = Hole> {
    holes.into_iter().map(move |hole| Hole { at: hole.at + by, ..hole })
}

/// A message being written, and the holes in it.
#[derive(Default)]
struct Message {
    fields: Vec<Written>,
}

fn varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

impl Message {
    fn bytes(&mut self, number: u64, bytes: &[u8]) -> usize {
        let mut field = Vec::with_capacity(bytes.len() + 4);
        varint(&mut field, number << 3 | 2);
        varint(&mut field, bytes.len() as u64);
        let at = field.len();
        field.extend_from_slice(bytes);
        self.fields.push((field, Vec::new()));
        at
    }

    fn text(&mut self, number: u64, text: &str) {
        self.bytes(number, text.as_bytes());
    }

    fn number(&mut self, number: u64, value: u64) {
        let mut field = Vec::new();
        varint(&mut field, number << 3);
        varint(&mut field, value);
        self.fields.push((field, Vec::new()));
    }

    fn fixed64(&mut self, number: u64, value: u64) {
        let mut field = Vec::new();
        varint(&mut field, number << 3 | 1);
        field.extend_from_slice(&value.to_le_bytes());
        self.fields.push((field, Vec::new()));
    }

    fn message(&mut self, number: u64, (bytes, holes): Written) {
        let at = self.bytes(number, &bytes);
        self.fields.last_mut().expect("just pushed").1.extend(moved(holes, at));
    }

    /// The last field is a hole from its `at`th byte on.
    fn hole(&mut self, what: What, at: usize, (number, duration_ns): (u64, u64)) {
        self.fields.last_mut().expect("just pushed").1.push(Hole { what, number, duration_ns, at });
    }

    /// Numbers of the fields ascend as they were pushed; the other way round, repeated fields keep their order.
    fn written(self, descends: bool) -> Written {
        let mut fields = self.fields;
        if descends {
            fields.sort_by_key(|(field, _)| std::cmp::Reverse(key_of(field)));
        }
        let (mut bytes, mut all) = (Vec::new(), Vec::new());
        for (field, holes) in fields {
            all.extend(moved(holes, bytes.len()));
            bytes.extend_from_slice(&field);
        }
        (bytes, all)
    }
}

/// Number of a written field; all are below 2^11.
fn key_of(field: &[u8]) -> u64 {
    let low = u64::from(field[0] & 0x7f);
    (if field[0] < 0x80 { low } else { low | u64::from(field[1]) << 7 }) >> 3
}

fn pair(key: &str, value: impl FnOnce(&mut Message), descends: bool) -> Written {
    let mut any = Message::default();
    value(&mut any);
    let mut pair = Message::default();
    pair.text(1, key);
    pair.message(2, any.written(descends));
    pair.written(descends)
}

fn text_pair(key: &str, text: &str, descends: bool) -> Written {
    pair(key, |any| any.text(1, text), descends)
}

fn resource(service: u64, descends: bool) -> Written {
    let mut resource = Message::default();
    let (name, instance) = (format!("service-{service:02}"), format!("service-{service:02}-7d9c5b8f6d-x{:03}q", service * 37 % 1000));
    for (key, value) in [
        ("service.name", name.as_str()),
        ("service.namespace", "shop"),
        ("service.version", "1.24.3"),
        ("service.instance.id", &instance),
        ("host.name", "node-3.eu-central-1.compute"),
        ("os.type", "linux"),
        ("telemetry.sdk.name", "opentelemetry"),
        ("telemetry.sdk.language", "go"),
        ("telemetry.sdk.version", "1.38.0"),
        ("deployment.environment.name", "production"),
    ] {
        resource.message(1, text_pair(key, value, descends));
    }
    resource.written(descends)
}

/// Mixes a number (splitmix64).
pub fn dice(number: u64) -> u64 {
    let mut x = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

fn span(number: u64, place: u64, descends: bool) -> Written {
    let roll = dice(number * 1_000_003 + place);
    let (operation, kind, failed) = (roll % 8, 1 + roll / 8 % 5, (roll / 64).is_multiple_of(50));
    let whose = (place, 1_000_000 + roll % 50_000_000);
    let mut span = Message::default();
    let at = span.bytes(1, &[0; 16]);
    span.hole(What::Trace, at, whose);
    let at = span.bytes(2, &[0; 8]);
    span.hole(What::Span, at, whose);
    if !place.is_multiple_of(TRACE) {
        let at = span.bytes(4, &[0; 8]);
        span.hole(What::Parent, at, whose);
    }
    span.text(5, &format!("POST /api/v1/operation-{operation}"));
    span.number(6, kind);
    for (number, what) in [(7, What::Start), (8, What::End)] {
        span.fixed64(number, 0);
        span.hole(what, 1, whose);
    }
    for (key, value) in [
        ("http.request.method", "POST"),
        ("http.route", &*format!("/api/v1/operation-{operation}")),
        ("url.scheme", "https"),
        ("server.name", "shop.internal"),
        ("user.tier", ["free", "silver", "gold"][(roll / 4096 % 3) as usize]),
        ("thread.name", &*format!("worker-{}", roll / 16384 % 16)),
    ] {
        span.message(9, text_pair(key, value, descends));
    }
    let unique = pair(
        "request.id",
        |any| {
            let at = any.bytes(1, &[b'0'; 16]);
            any.hole(What::Unique, at, whose);
        },
        descends,
    );
    span.message(9, unique);
    for (key, value) in
        [("http.response.status_code", if failed { 500 } else { 200 }), ("retry.count", 0), ("body.size", roll / 7 % 60_000)]
    {
        span.message(9, pair(key, |any| any.number(3, value), descends));
    }
    if (roll / 128).is_multiple_of(20) {
        let mut event = Message::default();
        event.fixed64(1, 1_764_000_000_000_000_000);
        event.text(2, "cache miss");
        event.message(3, text_pair("cache.key", "user/7341", descends));
        span.message(11, event.written(descends));
    }
    let mut status = Message::default();
    if failed {
        status.number(3, 2);
    }
    span.message(15, status.written(descends));
    span.written(descends)
}

impl Template {
    fn new(number: u64, spans: u64) -> Self {
        let descends = number % 2 == 1;
        let mut request = Message::default();
        for half in 0..2 {
            let mut scope = Message::default();
            scope.text(1, "io.opentelemetry.http");
            scope.text(2, "2.11.0");
            let mut scope_spans = Message::default();
            scope_spans.message(1, scope.written(descends));
            for place in (0..spans).filter(|place| place % 2 == half) {
                scope_spans.message(2, span(number, place, descends));
            }
            let mut resource_spans = Message::default();
            resource_spans.message(1, resource((number + half * 7) % 20, descends));
            resource_spans.message(2, scope_spans.written(descends));
            request.message(1, resource_spans.written(descends));
        }
        let (bytes, holes) = request.written(descends);
        Self { bytes, holes }
    }

    /// Puts ids that follow from `request` and times that end at `now_ns` into `out`.
    pub fn stamp(&self, request: u64, now_ns: u64, out: &mut Vec<u8>) {
        let from = out.len();
        out.extend_from_slice(&self.bytes);
        let bytes = &mut out[from..];
        for Hole { what, number, duration_ns, at } in &self.holes {
            let (trace, id) = (request << 10 | (number / TRACE), request << 10 | number);
            let end = now_ns - number * 1_000;
            let eight = match what {
                What::Trace => {
                    bytes[at + 8..at + 16].copy_from_slice(&(trace + 1).to_be_bytes());
                    dice(trace).to_be_bytes()
                }
                What::Span => (dice(id) | 1).to_be_bytes(),
                What::Parent => (dice(id - 1) | 1).to_be_bytes(),
                What::Unique => {
                    let digits = |bits: u64| {
                        (0..8)
                            .fold(0, |all, place| all << 8 | u64::from(b"0123456789abcdef"[(bits >> (4 * place) & 15) as usize]))
                            .to_be_bytes()
                    };
                    let bits = dice(!id);
                    bytes[at + 8..at + 16].copy_from_slice(&digits(bits >> 32));
                    digits(bits)
                }
                What::Start => (end - duration_ns).to_le_bytes(),
                What::End => end.to_le_bytes(),
            };
            bytes[*at..at + 8].copy_from_slice(&eight);
        }
    }
}

/// Requests of so many spans.
pub fn templates(spans: u64) -> Vec<Template> {
    (0..TEMPLATES).map(|number| Template::new(number, spans)).collect()
}
