//! Attributes that a process publishes of itself (OTEP 4719): a mapping with a header, written by the
//! process, read by us under its sequence lock.

use super::{Mapping, Memory};
use opentelemetry_proto::tonic::{
    common::v1::{KeyValue, any_value::Value},
    resource::v1::Resource,
};
use prost::Message;
use std::os::unix::fs::FileExt;

const SIGNATURE: &[u8; 8] = b"OTEL_CTX";
const VERSION: u32 = 2;
/// A payload is a few hundred bytes; more is refused.
const PAYLOAD_BYTES_MAX: u32 = 64 << 10;
/// Mappings that may hold the header.
const NAMES: [&str; 3] = ["/memfd:OTEL_CTX", "[anon_shmem:OTEL_CTX]", "[anon:OTEL_CTX]"];

/// The published message.
#[derive(Clone, PartialEq, Message)]
pub struct ProcessContext {
    /// Who the process is.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// More, among it the keys of the thread context.
    #[prost(message, repeated, tag = "2")]
    pub attributes: Vec<KeyValue>,
}

impl ProcessContext {
    /// A text attribute of the resource.
    pub fn text(&self, key: &str) -> Option<&str> {
        let attributes = &self.resource.as_ref()?.attributes;
        match attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text),
            _ => None,
        }
    }
}

/// What the process published, if anything.
pub fn read_context(pid: u32, mappings: &[Mapping]) -> Option<ProcessContext> {
    let memory = Memory::of(pid);
    let ours = |mapping: &&Mapping| NAMES.iter().any(|name| mapping.path.starts_with(name));
    mappings.iter().filter(ours).find_map(|mapping| read(&memory, mapping.start))
}

fn read(memory: &impl FileExt, at: u64) -> Option<ProcessContext> {
    let header = |at: u64| {
        let mut header = [0; 32];
        memory.read_exact_at(&mut header, at).ok().map(|()| header)
    };
    // Written anew now and then: a few tries are enough to meet a quiet moment.
    for _ in 0..3 {
        let before = header(at)?;
        let number = |from: usize| u64::from_ne_bytes(before[from..from + 8].try_into().expect("8 bytes of 32"));
        let small = |from: usize| u32::from_ne_bytes(before[from..from + 4].try_into().expect("4 bytes of 32"));
        if &before[..8] != SIGNATURE || small(8) != VERSION || small(12) > PAYLOAD_BYTES_MAX {
            return None;
        }
        let mut payload = vec![0; small(12) as usize];
        if number(16) == 0 || memory.read_exact_at(&mut payload, number(24)).is_err() || header(at)? != before {
            continue;
        }
        return ProcessContext::decode(&*payload).ok();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io, sync::Mutex};

    /// Memory that changes its header once it has been read `quiet_after` times.
    struct Memory {
        bytes: Mutex<(Vec<u8>, usize)>,
    }

    impl FileExt for Memory {
        fn read_at(&self, to: &mut [u8], at: u64) -> io::Result<usize> {
            let mut held = self.bytes.lock().expect("one thread");
            if to.len() == 32 && held.1 > 0 {
                held.1 -= 1;
                held.0[16] = held.0[16].wrapping_add(1);
            }
            let at = usize::try_from(at).expect("small");
            let from = held.0.get(at..at + to.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
            to.copy_from_slice(from);
            Ok(to.len())
        }

        fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    fn memory(changes: usize) -> Memory {
        let attribute = |key: &str, value: &str| KeyValue {
            key: key.into(),
            value: Some(opentelemetry_proto::tonic::common::v1::AnyValue { value: Some(Value::StringValue(value.into())) }),
            ..KeyValue::default()
        };
        let resource = Resource { attributes: vec![attribute("service.name", "cart")], ..Resource::default() };
        let payload = ProcessContext { resource: Some(resource), attributes: Vec::new() }.encode_to_vec();
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend(VERSION.to_ne_bytes());
        bytes.extend(u32::try_from(payload.len()).expect("small").to_ne_bytes());
        bytes.extend(7u64.to_ne_bytes());
        bytes.extend(32u64.to_ne_bytes());
        bytes.extend(payload);
        Memory { bytes: Mutex::new((bytes, changes)) }
    }

    #[test]
    fn what_is_published_is_read() {
        assert_eq!(read(&memory(0), 0).as_ref().and_then(|context| context.text("service.name")), Some("cart"));
    }

    #[test]
    fn what_changes_meanwhile_is_read_again() {
        assert!(read(&memory(2), 0).is_some());
        assert!(read(&memory(99), 0).is_none(), "never quiet: nothing, rather than something torn");
    }

    #[test]
    fn rubbish_is_no_context() {
        let memory = memory(0);
        memory.bytes.lock().expect("one thread").0[8] = 9;
        assert!(read(&memory, 0).is_none());
    }
}
