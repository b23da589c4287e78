//! Sends requests in a closed loop: so many open at once, the next as soon as one is answered. Own framing over
//! plain sockets, so that the sender costs little more than what the kernel takes.

use super::{
    frames::{FRAME_BYTES, WINDOW_BYTES, begun, first_of, frame, head, setting},
    payload::Template,
};
use std::{
    collections::{HashMap, VecDeque},
    io::{Read, Write},
    net::TcpStream,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// How requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// OTLP over gRPC, at most four connections.
    Grpc,
    /// OTLP over HTTP/1.1, a connection for each open request.
    Http,
}

const CONNECTIONS: usize = 4;
/// Written at once.
const OUT_BYTES: usize = 256 << 10;
/// Who is refused waits so long.
const REFUSED: Duration = Duration::from_millis(5);

/// What is sent.
pub struct Load<'a> {
    pub address: &'a str,
    pub transport: Transport,
    pub templates: &'a [Template],
    /// Requests packed beforehand; sent once each, in their order, in place of templates.
    pub packed: &'a [Vec<u8>],
    pub in_flight: usize,
    /// So many requests are to be acknowledged.
    pub requests: u64,
    /// Number of the first; ids follow from it.
    pub first: u64,
}

/// What became of it.
#[derive(Default)]
pub struct Outcome {
    pub acked: AtomicU64,
    pub refused: AtomicU64,
    taken: AtomicU64,
}

impl Load<'_> {
    /// Sends until as many are acknowledged as wanted.
    pub fn send(&self) -> Outcome {
        let outcome = Outcome::default();
        let threads = if self.transport == Transport::Grpc { CONNECTIONS.min(self.in_flight) } else { self.in_flight };
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let quota = self.in_flight / threads + usize::from(thread < self.in_flight % threads);
                let outcome = &outcome;
                std::thread::Builder::new()
                    .stack_size(256 << 10)
                    .spawn_scoped(scope, move || match self.transport {
                        Transport::Grpc => Link::open(self).run(quota, outcome),
                        Transport::Http => self.http(outcome),
                    })
                    .expect("a few hundred threads");
            }
        });
        outcome
    }

    /// The next request's bytes at the end of `out`, if another one is wanted.
    fn next(&self, outcome: &Outcome, out: &mut Vec<u8>) -> bool {
        let number = outcome.taken.fetch_add(1, Ordering::Relaxed);
        if number >= self.requests + outcome.refused.load(Ordering::Relaxed) {
            outcome.taken.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        let index = usize::try_from(number).expect("a count of requests");
        if self.packed.is_empty() {
            self.templates[index % self.templates.len()].stamp(self.first + number, now_ns(), out);
        } else {
            out.extend_from_slice(&self.packed[index % self.packed.len()]);
        }
        true
    }

    fn http(&self, outcome: &Outcome) {
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket takes the option");
        let (mut body, mut out, mut answer) = (Vec::new(), Vec::new(), Vec::new());
        let encoding = if self.packed.is_empty() { "" } else { "content-encoding: gzip\r\n" };
        loop {
            body.clear();
            if !self.next(outcome, &mut body) {
                return;
            }
            out.clear();
            let head = format!(
                "POST /v1/traces HTTP/1.1\r\nhost: {}\r\nuser-agent: wire\r\ncontent-type: application/x-protobuf\r\n{encoding}content-length: {}\r\n\r\n",
                self.address,
                body.len()
            );
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(&body);
            stream.write_all(&out).expect("the server reads");
            count(outcome, read_answer(&mut stream, &mut answer));
        }
    }
}

pub fn now_ns() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    u64::try_from(now.as_nanos()).expect("it is before 2554")
}

fn count(outcome: &Outcome, acked: bool) {
    if acked {
        outcome.acked.fetch_add(1, Ordering::Relaxed);
    } else {
        outcome.refused.fetch_add(1, Ordering::Relaxed);
        std::thread::sleep(REFUSED);
    }
}

/// Reads one HTTP/1.1 answer with a length; whether it is 200.
fn read_answer(stream: &mut TcpStream, answer: &mut Vec<u8>) -> bool {
    answer.clear();
    let mut piece = [0; 4096];
    loop {
        let read = stream.read(&mut piece).expect("the server answers");
        assert!(read > 0, "the server has closed the connection");
        answer.extend_from_slice(&piece[..read]);
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")).map_or(0, |text| text.trim().parse().unwrap_or(0));
        if answer.len() >= end + 4 + length {
            return head.starts_with("http/1.1 200");
        }
    }
}

/// An open request.
struct Open {
    body: Vec<u8>,
    sent: usize,
    window: i64,
    has_answer: bool,
}

/// One HTTP/2 connection.
struct Link<'a> {
    load: &'a Load<'a>,
    stream: TcpStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    window: i64,
    stream_window: i64,
    open: HashMap<u32, Open>,
    unsent: VecDeque<u32>,
    spare: Vec<Vec<u8>>,
    next_id: u32,
    unheard: u32,
}

impl<'a> Link<'a> {
    fn open(load: &'a Load<'a>) -> Self {
        let stream = TcpStream::connect(load.address).expect("the server listens");
        stream.set_nodelay(true).expect("a socket takes the option");
        let (open, unsent) = (HashMap::new(), VecDeque::new());
        Self {
            load,
            stream,
            inbox: Vec::new(),
            outbox: begun(),
            window: WINDOW_BYTES,
            stream_window: WINDOW_BYTES,
            open,
            unsent,
            spare: Vec::new(),
            next_id: 1,
            unheard: 0,
        }
    }

    fn run(mut self, quota: usize, outcome: &Outcome) {
        loop {
            while self.open.len() < quota && self.start(outcome) {}
            if self.open.is_empty() {
                return;
            }
            self.push();
            self.flush();
            self.read(outcome);
        }
    }

    /// The head of another request; its body waits for windows.
    fn start(&mut self, outcome: &Outcome) -> bool {
        let mut body = self.spare.pop().unwrap_or_default();
        body.clear();
        body.extend_from_slice(&[u8::from(!self.load.packed.is_empty()), 0, 0, 0, 0]);
        if !self.load.next(outcome, &mut body) {
            return false;
        }
        let length = u32::try_from(body.len() - 5).expect("a request is a few MiB");
        body[1..5].copy_from_slice(&length.to_be_bytes());
        let id = self.next_id;
        self.next_id += 2;
        let head = head(self.load.address, !self.load.packed.is_empty(), id == 1);
        frame(&mut self.outbox, (1, 4), id, &head);
        self.open.insert(id, Open { body, sent: 0, window: self.stream_window, has_answer: false });
        self.unsent.push_back(id);
        true
    }

    /// As much of the bodies as the windows take.
    fn push(&mut self) {
        for _ in 0..self.unsent.len() {
            let Some(id) = self.unsent.pop_front() else { return };
            let Some(mut open) = self.open.remove(&id) else { continue };
            while open.sent < open.body.len() {
                let may = usize::try_from(self.window.min(open.window).max(0)).expect("not negative").min(FRAME_BYTES);
                let now = may.min(open.body.len() - open.sent);
                if now == 0 {
                    break;
                }
                let is_last = open.sent + now == open.body.len();
                frame(&mut self.outbox, (0, u8::from(is_last)), id, &open.body[open.sent..open.sent + now]);
                open.sent += now;
                open.window -= now as i64;
                self.window -= now as i64;
                if self.outbox.len() >= OUT_BYTES {
                    self.flush();
                }
            }
            if open.sent < open.body.len() {
                self.unsent.push_back(id);
            }
            self.open.insert(id, open);
        }
    }

    fn flush(&mut self) {
        self.stream.write_all(&self.outbox).expect("the server reads");
        self.outbox.clear();
    }

    fn read(&mut self, outcome: &Outcome) {
        let filled = self.inbox.len();
        self.inbox.resize(filled + 65_536, 0);
        let read = self.stream.read(&mut self.inbox[filled..]).expect("the server answers");
        assert!(read > 0, "the server has closed the connection");
        self.inbox.truncate(filled + read);
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = &inbox[..];
        while let Some((what, id, payload, behind)) = first_of(rest) {
            self.take(what, id, payload, outcome);
            rest = behind;
        }
        self.inbox = rest.to_vec();
    }

    fn take(&mut self, (kind, flags): (u8, u8), id: u32, payload: &[u8], outcome: &Outcome) {
        let word = |at: usize| payload.get(at..at + 4).map_or(0, |four| u32::from_be_bytes([four[0], four[1], four[2], four[3]]));
        match kind {
            0 => {
                self.unheard += u32::try_from(payload.len()).expect("a frame is small");
                if self.unheard > 16_384 {
                    let heard = std::mem::take(&mut self.unheard).to_be_bytes();
                    frame(&mut self.outbox, (8, 0), 0, &heard);
                }
                self.open.entry(id).and_modify(|open| open.has_answer = true);
            }
            4 if flags & 1 == 0 => {
                if let Some(window) = setting(payload, 4) {
                    self.open.values_mut().for_each(|open| open.window += window - self.stream_window);
                    self.stream_window = window;
                }
                frame(&mut self.outbox, (4, 1), 0, &[]);
            }
            6 if flags & 1 == 0 => frame(&mut self.outbox, (6, 1), 0, payload),
            7 => panic!("the server ends the connection: code {}", word(4)),
            8 if id == 0 => self.window += i64::from(word(0)),
            8 => drop(self.open.entry(id).and_modify(|open| open.window += i64::from(word(0)))),
            _ => {}
        }
        let is_end = matches!(kind, 0 | 1) && flags & 1 == 1 || kind == 3;
        if is_end && let Some(open) = self.open.remove(&id) {
            // A refusal is headers only.
            count(outcome, open.has_answer && kind != 3);
            self.unsent.retain(|unsent| *unsent != id);
            self.spare.push(open.body);
        }
    }
}
