//! The brain in this process with a log position of its own, and the incidents it told of. Not the service:
//! no log, no clock. Used by tests of what is found.

use geophone_client::ExportRequest;
use geophone_engine::{Brain, Settings};
use geophone_proto::{Effect, Record, RecordBody, Seq, Tenant, Transport, UnixNanos, incident::Incident, record::Export, seam::Model};
use std::collections::BTreeMap;

/// A brain.
pub struct Head {
    brain: Brain,
    seq: Seq,
    /// As last told, by id.
    pub incidents: BTreeMap<String, Incident>,
}

impl Head {
    /// Knows nothing.
    pub fn new(settings: Settings, model: Box<dyn Model>) -> Self {
        Self { brain: Brain::new(settings, model), seq: Seq(0), incidents: BTreeMap::new() }
    }

    /// Takes a request that arrives at this moment; what the brain says of it.
    pub fn take(&mut self, at: UnixNanos, request: &ExportRequest) -> Vec<Effect> {
        let mut export = Export {
            tenant: Tenant::default(),
            signal: request.signal(),
            transport: Transport::File,
            wire: request.encode(),
            decoded: None,
        };
        export.decoded = Some(geophone_ingest::decode_export(&export, at));
        self.step(&Record { at, body: RecordBody::Batch(export) })
    }

    /// Time passes.
    pub fn tick(&mut self, at: UnixNanos) -> Vec<Effect> {
        self.step(&Record { at, body: RecordBody::Tick })
    }

    fn step(&mut self, record: &Record) -> Vec<Effect> {
        self.seq = self.seq.next();
        let effects = self.brain.step(self.seq, record);
        for effect in &effects {
            if let Effect::Incident(incident) = effect {
                self.incidents.insert(incident.id.clone(), (**incident).clone());
            }
        }
        effects
    }
}
