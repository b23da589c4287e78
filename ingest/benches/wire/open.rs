//! Sends requests in an open loop: each at its moment, whether those before it are answered or not. What a request took
//! counts from the moment it was to be sent, so that a server that stands still cannot hide it by keeping the sender
//! from sending (coordinated omission). A connection has a thread that sends and one that reads.

use super::{
    driver::now_ns,
    frames::{FRAME_BYTES, WINDOW_BYTES, begun, first_of, frame, head, setting},
    payload::Template,
};
use std::{
    collections::HashSet,
    io::{Read, Write},
    net::TcpStream,
    sync::{Condvar, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

const CONNECTIONS: u64 = 4;
/// Who answers nothing for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is sent.
pub struct Pace<'a> {
    pub address: &'a str,
    pub templates: &'a [Template],
    /// Requests a second, evenly spread.
    pub rate: f64,
    /// Of the whole, the warming up included.
    pub requests: u64,
    /// So many at the beginning are not measured.
    pub warm: u64,
}

/// What became of it: nanoseconds of the measured requests, in no order.
#[derive(Default)]
pub struct Heard {
    /// From the moment a request was to be sent until its answer was read.
    pub took: Vec<u64>,
    /// The sender's own share of it: until the request was written.
    pub late: Vec<u64>,
    pub acked: u64,
    pub refused: u64,
}

/// What the other side grants.
struct Granted {
    window: i64,
    streams: i64,
}

struct Lane<'a> {
    pace: &'a Pace<'a>,
    number: u64,
    began: Instant,
    granted: Mutex<Granted>,
    more: Condvar,
    writer: Mutex<TcpStream>,
}

impl Pace<'_> {
    /// Sends all, and waits for all answers.
    pub fn send(&self) -> Heard {
        let began = Instant::now() + Duration::from_millis(50);
        let lanes: Vec<(Lane<'_>, TcpStream)> = (0..CONNECTIONS).map(|number| Lane::open(self, number, began)).collect();
        let mut heard = Heard::default();
        thread::scope(|scope| {
            let running: Vec<_> =
                lanes.iter().map(|(lane, stream)| (scope.spawn(|| lane.send()), scope.spawn(|| lane.read(stream)))).collect();
            for (sender, reader) in running {
                let of_lane = reader.join().expect("it says itself what is wrong");
                heard.took.extend(of_lane.took);
                heard.acked += of_lane.acked;
                heard.refused += of_lane.refused;
                heard.late.extend(sender.join().expect("it says itself what is wrong"));
            }
        });
        heard
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nobody panics while holding it")
}

fn ns(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).expect("a run takes minutes")
}

impl<'a> Lane<'a> {
    fn open(pace: &'a Pace<'a>, number: u64, began: Instant) -> (Self, TcpStream) {
        let mut stream = TcpStream::connect(pace.address).expect("the server listens");
        stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(PATIENCE))).expect("a socket takes the options");
        stream.write_all(&begun()).expect("the server reads");
        let writer = Mutex::new(stream.try_clone().expect("a file handle is free"));
        let granted = Mutex::new(Granted { window: WINDOW_BYTES, streams: 100 });
        (Self { pace, number, began, granted, more: Condvar::new(), writer }, stream)
    }

    /// How many requests go this way.
    fn count(&self) -> u64 {
        (self.pace.requests + CONNECTIONS - 1 - self.number) / CONNECTIONS
    }

    /// The number in the whole of this lane's request, and when it is to be sent.
    fn due(&self, place: u64) -> (u64, Instant) {
        let number = place * CONNECTIONS + self.number;
        (number, self.began + Duration::from_secs_f64(number as f64 / self.pace.rate))
    }

    fn send(&self) -> Vec<u64> {
        let (mut late, mut out, mut body, mut place) = (Vec::new(), Vec::new(), Vec::new(), 0);
        while place < self.count() {
            thread::sleep(self.due(place).1.saturating_duration_since(Instant::now()));
            let (from, now) = (place, Instant::now());
            out.clear();
            while place < self.count() && self.due(place).1 <= now && out.len() < FRAME_BYTES {
                let id = stream_of(place);
                body.clear();
                body.extend_from_slice(&[0; 5]);
                self.pace.templates[self.due(place).0 as usize % self.pace.templates.len()].stamp(self.due(place).0, now_ns(), &mut body);
                let length = u32::try_from(body.len() - 5).expect("a request is small");
                body[1..5].copy_from_slice(&length.to_be_bytes());
                assert!(body.len() <= FRAME_BYTES, "an open loop sends small requests only");
                self.wait_for_room(body.len() as i64, place > from, &mut out);
                frame(&mut out, (1, 4), id, &head(self.pace.address, false, place == 0));
                frame(&mut out, (0, 1), id, &body);
                place += 1;
            }
            self.write(&out);
            let written = Instant::now();
            let measured = (from..place).map(|place| self.due(place)).filter(|(number, _)| *number >= self.pace.warm);
            late.extend(measured.map(|(_, due)| ns(written.saturating_duration_since(due))));
        }
        late
    }

    /// Takes what a request needs of what is granted. While it waits, what is in `out` goes.
    fn wait_for_room(&self, bytes: i64, has_more: bool, out: &mut Vec<u8>) {
        let mut granted = held(&self.granted);
        let is_full = |granted: &mut Granted| granted.window < bytes || granted.streams < 1;
        if has_more && is_full(&mut granted) {
            drop(granted);
            self.write(out);
            out.clear();
            granted = held(&self.granted);
        }
        let mut granted = self.more.wait_while(granted, is_full).expect("nobody panics while holding it");
        granted.window -= bytes;
        granted.streams -= 1;
    }

    fn write(&self, out: &[u8]) {
        held(&self.writer).write_all(out).expect("the server reads");
    }

    fn read(&self, mut stream: &TcpStream) -> Heard {
        let (mut heard, mut answered, mut unheard) = (Heard::default(), HashSet::new(), 0);
        let (mut inbox, mut filled) = (vec![0; 65_536], 0);
        while heard.acked + heard.refused < self.count() {
            let read = stream.read(&mut inbox[filled..]).expect("the server answers");
            assert!(read > 0, "the server has closed the connection");
            let now = Instant::now();
            filled += read;
            let mut rest = &inbox[..filled];
            while let Some(((kind, flags), id, payload, behind)) = first_of(rest) {
                rest = behind;
                match kind {
                    0 => {
                        answered.insert(id);
                        unheard += payload.len();
                    }
                    7 => panic!("the server ends the connection"),
                    4 | 6 | 8 => self.take((kind, flags), id, payload),
                    _ => {}
                }
                if matches!(kind, 0 | 1) && flags & 1 == 1 || kind == 3 {
                    // A refusal is headers only.
                    let is_acked = answered.remove(&id) && kind != 3;
                    (heard.acked, heard.refused) = (heard.acked + u64::from(is_acked), heard.refused + u64::from(!is_acked));
                    let (number, due) = self.due(u64::from(id / 2));
                    if number >= self.pace.warm {
                        heard.took.push(ns(now.saturating_duration_since(due)));
                    }
                    held(&self.granted).streams += 1;
                    self.more.notify_all();
                }
            }
            let kept = rest.len();
            inbox.copy_within(filled - kept..filled, 0);
            filled = kept;
            if unheard > 16_384 {
                let mut out = Vec::new();
                frame(&mut out, (8, 0), 0, &u32::try_from(std::mem::take(&mut unheard)).expect("a few KiB").to_be_bytes());
                self.write(&out);
            }
        }
        heard
    }

    /// Settings, pings and windows.
    fn take(&self, (kind, flags): (u8, u8), id: u32, payload: &[u8]) {
        let mut out = Vec::new();
        match kind {
            4 if flags & 1 == 0 => {
                // What is open already counts.
                setting(payload, 3).into_iter().for_each(|streams| held(&self.granted).streams += streams - 100);
                frame(&mut out, (4, 1), 0, &[]);
            }
            6 if flags & 1 == 0 => frame(&mut out, (6, 1), 0, payload),
            8 if id == 0 => {
                let more = payload.first_chunk().map_or(0, |four| i64::from(u32::from_be_bytes(*four)));
                held(&self.granted).window += more;
                self.more.notify_all();
            }
            _ => {}
        }
        if !out.is_empty() {
            self.write(&out);
        }
    }
}

fn stream_of(place: u64) -> u32 {
    u32::try_from(2 * place + 1).expect("a connection has 2^30 requests at most")
}
