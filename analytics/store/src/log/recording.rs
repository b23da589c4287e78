//! All that a data directory's log still has, in order, for replays: one file after the other, so that any number of
//! them can be read beside a running server, which may move or remove them meanwhile.

use super::{past, recovery, segment::Cursor};
use crate::error::StoreError;
use geophone_proto::{Record, RecordBody, Seq, record::DecodeExport};
use std::{
    collections::{BTreeSet, VecDeque},
    ffi::OsString,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Records from disk, batches decoded.
pub struct Recording {
    dir: PathBuf,
    /// Files still to be read. Their names are in the order of their records.
    names: VecDeque<OsString>,
    cursor: Option<Cursor>,
    next: u64,
    decode: DecodeExport,
    /// Records that are missing between others.
    pub missing: u64,
}

impl Recording {
    /// Lists what `data_dir` has.
    pub fn open(data_dir: &Path, decode: DecodeExport) -> Result<Self, StoreError> {
        let dir = data_dir.join("log");
        // What is moved aside between the two looks is in the second.
        let found = [recovery::list(&dir)?, recovery::list(&dir.join(past::FOLDER))?].concat();
        let names: BTreeSet<OsString> = found.iter().filter_map(|path| path.file_name()).map(ToOwned::to_owned).collect();
        Ok(Self { dir, names: names.into_iter().collect(), cursor: None, next: 0, decode, missing: 0 })
    }

    /// The next record; `None` after the last. After an error it goes on behind the damage.
    pub fn advance(&mut self) -> Result<Option<(Seq, Record)>, StoreError> {
        loop {
            let Some(mut cursor) = self.cursor.take() else {
                let Some(name) = self.names.pop_front() else { return Ok(None) };
                self.cursor = self.segment(&name)?;
                continue;
            };
            let Some((seq, mut record)) = cursor.read()? else { continue };
            self.cursor = Some(cursor);
            // What a failed append could not take back was appended again in the next segment.
            if seq < self.next {
                continue;
            }
            self.missing += if self.next == 0 { 0 } else { seq - self.next };
            self.next = seq + 1;
            if let RecordBody::Batch(export) = &mut record.body {
                export.decoded = Some((self.decode)(export, record.at));
            }
            return Ok(Some((Seq(seq), record)));
        }
    }

    /// At the beginning of a file; `None` if it is gone, or nothing of it can be read.
    fn segment(&self, name: &OsString) -> Result<Option<Cursor>, StoreError> {
        for path in [self.dir.join(name), self.dir.join(past::FOLDER).join(name)] {
            if let Some(segment) = recovery::open(&path, false, &mut recovery::Recovery::default())? {
                return Ok(Some(Cursor::new(Arc::new(segment))));
            }
        }
        Ok(None)
    }
}
