//! The fold of a replay: messages and synthetic ticks through the brain, effects to whoever keeps them.

use super::merge::Message;
use crate::error::ServiceError;
use geophone_engine::Brain;
use geophone_proto::{
    Effect, Record, RecordBody, Seq, UnixNanos, anomaly::Anomaly, incident::Incident, model::ModelRef, record::Export, time::SECOND_NS,
};
use geophone_store::{Log, Store};
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

/// Ticks in one silence at most: a gap of days is crossed in larger steps.
const TICKS_MAX: u64 = 3_600;

/// Where a replay is kept (`--save`).
pub struct Keep {
    /// Gets every record.
    pub log: Arc<Log>,
    /// Gets every effect.
    pub store: Arc<Store>,
}

/// What a replay found.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Oldest first.
    pub incidents: Vec<Incident>,
    /// By id.
    pub anomalies: BTreeMap<String, Anomaly>,
}

impl Outcome {
    /// Keys of the series in an incident.
    pub fn series_of(&self, incident: &Incident) -> BTreeSet<u128> {
        incident.anomalies.iter().filter_map(|id| Some(self.anomalies.get(id)?.series.key.0)).collect()
    }
}

/// A brain that is fed from files.
pub struct Replay {
    brain: Brain,
    keep: Option<Keep>,
    seq: Seq,
    now: Option<UnixNanos>,
    incidents: BTreeMap<(UnixNanos, String), Incident>,
    anomalies: BTreeMap<String, Anomaly>,
    /// Rows fed.
    pub rows: u64,
    /// The least and the greatest event time of a row.
    pub held: Option<(UnixNanos, UnixNanos)>,
}

impl Replay {
    /// A replay that starts from nothing.
    pub fn new(brain: Brain, keep: Option<Keep>) -> Self {
        Self { brain, keep, seq: Seq(0), now: None, incidents: BTreeMap::new(), anomalies: BTreeMap::new(), rows: 0, held: None }
    }

    /// Feeds one request, after the ticks of the time that passed before it.
    pub fn feed(&mut self, message: Message) -> Result<(), ServiceError> {
        let now = self.now.unwrap_or(message.at);
        let silence = message.at.since(now);
        let step = SECOND_NS.max(silence / TICKS_MAX);
        let mut tick = now.plus(step);
        while tick < message.at {
            self.step(Record { at: tick, body: RecordBody::Tick })?;
            tick = tick.plus(step);
        }
        self.now = Some(now.max(message.at));
        self.count(&message.export);
        self.step(Record { at: now.max(message.at), body: RecordBody::Batch(message.export) })
    }

    /// Feeds a record of a log as it was; steps of models are left out, so that one model scores all.
    pub fn feed_record(&mut self, record: Record) -> Result<(), ServiceError> {
        match &record.body {
            RecordBody::Model(_) => return Ok(()),
            RecordBody::Batch(export) => self.count(export),
            RecordBody::Tick | RecordBody::Decided(_) | RecordBody::Outcome(_) | RecordBody::Stacks(_) => {}
        }
        self.step(record)
    }

    /// Who scores.
    pub fn model(&self) -> ModelRef {
        self.brain.model()
    }

    /// No more will come: the incidents, oldest first.
    pub fn finish(mut self) -> Result<Outcome, ServiceError> {
        let effects = self.brain.finish();
        self.take(effects);
        if let Some(keep) = &self.keep {
            keep.log.roll();
            let failed = |error: geophone_store::StoreError| ServiceError::room(error.class(), error);
            if let Some(last) = keep.log.head().0.checked_sub(1) {
                let brain = &mut self.brain;
                keep.store.snapshot_write(Seq(last), &mut |sink| brain.save(sink).map_err(io::Error::other)).map_err(failed)?;
                keep.log.release(Seq(last));
            }
            keep.store.seal().map_err(failed)?;
        }
        Ok(Outcome { incidents: self.incidents.into_values().collect(), anomalies: self.anomalies })
    }

    fn count(&mut self, export: &Export) {
        let Some(batch) = &export.decoded else { return };
        self.rows += batch.len() as u64;
        let times = batch.event_times();
        if let (Some(least), Some(most)) = (times.iter().min(), times.iter().max()) {
            let (first, last) = self.held.unwrap_or((UnixNanos(*least), UnixNanos(*most)));
            self.held = Some((first.min(UnixNanos(*least)), last.max(UnixNanos(*most))));
        }
    }

    fn step(&mut self, record: Record) -> Result<(), ServiceError> {
        let mut seq = self.seq;
        self.seq = seq.next();
        if let Some(keep) = &self.keep {
            seq = keep.log.append(vec![record.clone()]).map_err(|error| ServiceError::room(error.class(), error))?;
        }
        let effects = self.brain.step(seq, &record);
        self.take(effects);
        Ok(())
    }

    fn take(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            if let Some(keep) = &self.keep {
                keep.store.observe(&effect);
            }
            match effect {
                Effect::Incident(incident) => drop(self.incidents.insert((incident.opened_at, incident.id.clone()), *incident)),
                Effect::Anomaly(anomaly) => drop(self.anomalies.insert(anomaly.id.clone(), *anomaly)),
                _ => {}
            }
        }
    }
}
