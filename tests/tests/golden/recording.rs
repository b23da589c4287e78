//! Files of the sample data as one stream of decoded requests, by the time of each file's next request.
//! Written apart from the service's `replay` on purpose: the two must agree.

use bytes::Bytes;
use geophone_ingest::walk;
use geophone_proto::{Batch, Columns, Signal, Tenant, Transport, UnixNanos, record::Export, time::SECOND_NS};
use std::{collections::VecDeque, path::Path, sync::Arc};

/// One request and when it was probably sent: the time of its newest row.
pub struct Message {
    pub at: UnixNanos,
    pub export: Export,
}

/// All requests of a folder, in the order of a replay.
pub fn read(folder: &Path) -> Vec<Message> {
    let signals = [Signal::Logs, Signal::Metrics, Signal::Traces];
    let mut streams = signals.map(|signal| requests(&folder.join(format!("{}.binpb.zst", signal.as_str())), signal));
    let mut merged = Vec::new();
    loop {
        let heads = streams.iter_mut().filter(|stream| !stream.is_empty());
        let Some(next) = heads.min_by_key(|stream| stream[0].at) else { return merged };
        merged.extend(next.pop_front());
    }
}

fn requests(path: &Path, signal: Signal) -> VecDeque<Message> {
    let file = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}; `cargo xtask demo-data` writes it", path.display()));
    let bytes = Bytes::from(zstd::decode_all(&*file).expect("the sample data are zstd"));
    let (mut requests, mut at) = (VecDeque::new(), 0);
    while at < bytes.len() {
        let length: [u8; 4] = bytes[at..at + 4].try_into().expect("four bytes");
        let length = usize::try_from(u32::from_be_bytes(length)).expect("it fits");
        requests.extend(decode(signal, bytes.slice(at + 4..at + 4 + length)));
        at += 4 + length;
    }
    requests
}

fn decode(signal: Signal, wire: Bytes) -> Option<Message> {
    let walked = walk(signal, wire.clone(), Tenant::default(), UnixNanos(0)).expect("the sample data are sound");
    assert!(walked.rejected.is_empty(), "{:?}", walked.rejected);
    let at = newest(&walked.batch)?;
    let batch = Batch { arrived_at: at, ..walked.batch };
    let export = Export { tenant: Tenant::default(), signal, transport: Transport::File, wire, decoded: Some(Arc::new(batch)) };
    Some(Message { at, export })
}

/// Time of the newest row that lies near the others.
fn newest(batch: &Batch) -> Option<UnixNanos> {
    let mut times = match &batch.columns {
        Columns::Traces(spans) => spans.end_ns().values().to_vec(),
        Columns::Metrics(points) => points.time_ns().values().to_vec(),
        Columns::Logs(logs) => logs.time_ns().values().to_vec(),
        Columns::Profiles(samples) => samples.time_ns().values().to_vec(),
    };
    times.sort_unstable();
    let middle = *times.get(times.len() / 2)?;
    times.into_iter().rev().find(|time| *time <= middle + 600 * SECOND_NS).map(UnixNanos)
}
