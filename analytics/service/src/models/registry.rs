//! Every model that this service could score with: the one inside the program and the folders
//! `data_dir/models/NAME/VERSION`, each of which has passed its check before it came there.
//!
//! Immutable but for additions; which model plays which part stands in the log. A name and version
//! mean the same bytes for ever.

use super::{
    guarded::Guarded,
    stopwatch::{Latency, Stopwatch},
    trial_run,
    upload::ModelFiles,
};
use crate::error::ServiceError;
use geophone_models::{SIGNATURE_FILE, Trust};
use geophone_proto::{
    Class,
    model::{LineUp, ModelCard, ModelRef},
    seam::Model,
};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// Models loaded beforehand that nobody has taken yet.
const BENCH_MAX: usize = 4;
/// A wish to go back is made once more after so many that were not heard: one comes every second or window.
const WISHES_UNHEARD: u32 = 30;
/// In the folder of a model that hung or died while it scored: how.
const GIVEN_UP_FILE: &str = "given_up";
/// Where the line-up stands outside of log and snapshot, for the day that neither can tell.
const LINE_UP_FILE: &str = "line_up.json";

/// A model and where it lies; none = inside the program.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// Its card.
    pub card: ModelCard,
    /// Its folder.
    pub folder: Option<PathBuf>,
}

/// All models by name, version and hash.
pub struct Registry {
    data_dir: PathBuf,
    memory_bytes: u64,
    trust: Trust,
    known: Mutex<BTreeMap<ModelRef, Known>>,
    bench: Mutex<Vec<Box<dyn Model>>>,
    watches: Mutex<BTreeMap<ModelRef, Arc<Stopwatch>>>,
    /// Models on their way back that the log does not show yet, and how often that was wished.
    leaving: Mutex<BTreeMap<ModelRef, u32>>,
    /// Held by whoever adds a model: one check at a time.
    adding: Mutex<u64>,
}

impl Registry {
    /// Looks through `data_dir/models`; leftovers of interrupted additions go.
    pub fn open(data_dir: &Path, memory_bytes: u64, trust: Trust) -> Self {
        let registry = Self { trust, ..Self::empty(data_dir, memory_bytes) };
        let shelf = data_dir.join("models");
        for leftover in entries(&shelf).into_iter().filter(|path| name_of(path).starts_with(".incoming-")) {
            if let Err(error) = fs::remove_dir_all(&leftover) {
                tracing::warn!("{} is left over and cannot be deleted: {error}", leftover.display());
            }
        }
        registry.learn(registry.shipped());
        scan(&shelf).into_iter().for_each(|known| registry.learn(known));
        registry
    }

    /// A registry that knows no model.
    pub fn empty(data_dir: &Path, memory_bytes: u64) -> Self {
        Self {
            data_dir: data_dir.to_owned(),
            memory_bytes,
            trust: Trust::default(),
            known: Mutex::default(),
            bench: Mutex::default(),
            watches: Mutex::default(),
            leaving: Mutex::default(),
            adding: Mutex::default(),
        }
    }

    /// Where everything is kept.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// What a check may use.
    pub const fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Whose models may be loaded.
    pub const fn trust(&self) -> &Trust {
        &self.trust
    }

    /// The model inside the program.
    pub fn shipped(&self) -> Known {
        Known { card: geophone_models::shipped_card(), folder: None }
    }

    /// Knows a model from here on.
    pub fn learn(&self, known: Known) {
        lock(&self.known).insert(known.card.model_ref(), known);
    }

    /// All models, by name and version.
    pub fn all(&self) -> Vec<Known> {
        let mut all: Vec<Known> = lock(&self.known).values().cloned().collect();
        all.sort_by_cached_key(|known| (known.card.name.clone(), version_key(&known.card.version)));
        all
    }

    /// The model meant by NAME (its newest version) or NAME@VERSION.
    pub fn find(&self, wanted: &str) -> Option<Known> {
        let (name, version) = parse_name(wanted);
        let known = lock(&self.known);
        newest(known.values().filter(|known| known.card.name == name && version.is_none_or(|version| known.card.version == version)))
            .cloned()
    }

    /// Loads a model beforehand, so that the brain need not wait for it.
    pub fn prepare(&self, model: &ModelRef) -> Result<(), ServiceError> {
        let loaded = self.load(model)?;
        // How slow it was when it played before is no reason to take it back now.
        lock(&self.watches).get(model).into_iter().for_each(|watch| watch.forget());
        let mut bench = lock(&self.bench);
        bench.push(loaded);
        let excess = bench.len().saturating_sub(BENCH_MAX);
        bench.drain(..excess);
        Ok(())
    }

    /// A model to score with: from the bench, else loaded now.
    pub fn take(&self, model: &ModelRef) -> Result<Box<dyn Model>, ServiceError> {
        let mut bench = lock(&self.bench);
        if let Some(at) = bench.iter().position(|loaded| loaded.card().model_ref() == *model) {
            return Ok(bench.remove(at));
        }
        drop(bench);
        self.load(model)
    }

    fn load(&self, model: &ModelRef) -> Result<Box<dyn Model>, ServiceError> {
        let known = lock(&self.known).get(model).cloned();
        let gone =
            || ServiceError::Negative(format!("model {}@{} with hash {} is not here any more", model.name, model.version, model.sha256));
        let Known { folder, .. } = known.ok_or_else(gone)?;
        let loaded = match &folder {
            None => geophone_models::shipped(),
            Some(folder) => geophone_models::load(folder, &self.trust),
        };
        let loaded = loaded.map_err(|error| ServiceError::room(error.class(), error))?;
        if loaded.card().model_ref() != *model {
            return Err(gone());
        }
        let watch = lock(&self.watches).entry(model.clone()).or_default().clone();
        // Our own model is trusted not to hang; a thread of its own would only cost.
        let Some(folder) = folder else { return Ok(Box::new(watch.around(loaded))) };
        let obituary = Box::new(move |how: &str| {
            let path = folder.join(GIVEN_UP_FILE);
            if let Err(error) = fs::write(&path, how) {
                tracing::error!("{} was not written, so the model may be promoted again: {error}", path.display());
            }
        });
        Ok(Box::new(Guarded::start(loaded, watch, obituary)?))
    }

    /// How a model went that hung or died while it scored; it plays no part until it is added again.
    pub fn given_up(&self, model: &ModelRef) -> Option<String> {
        let folder = lock(&self.known).get(model)?.folder.clone()?;
        fs::read_to_string(folder.join(GIVEN_UP_FILE)).ok()
    }

    /// Notes that a model is to go back by itself; false if that is on its way already. What is wished again and again
    /// was lost on its way.
    pub fn is_to_leave(&self, model: &ModelRef) -> bool {
        let mut leaving = lock(&self.leaving);
        let wishes = leaving.entry(model.clone()).or_default();
        *wishes += 1;
        *wishes % WISHES_UNHEARD == 1
    }

    /// The wish was lost: it may be made again.
    pub fn stays(&self, model: &ModelRef) {
        lock(&self.leaving).remove(model);
    }

    /// How fast a model has been lately.
    pub fn latency(&self, model: &ModelRef) -> Option<Latency> {
        lock(&self.watches).get(model)?.latency()
    }

    /// Whether a model that is not ours has been slower than this too often.
    pub fn is_slow(&self, model: &ModelRef, bound: std::time::Duration) -> Option<String> {
        let is_ours = lock(&self.known).get(model).is_some_and(|known| known.folder.is_none());
        if is_ours { None } else { lock(&self.watches).get(model)?.is_slow(bound) }
    }

    /// Checks a model in a child process and keeps it for good. One at a time; blocks for up to the
    /// time of a check. True if it is new.
    pub fn add(&self, files: &ModelFiles, name: Option<&str>) -> Result<(Known, bool), ServiceError> {
        let mut turn = lock(&self.adding);
        *turn += 1;
        let shelf = self.data_dir.join("models");
        let incoming = shelf.join(format!(".incoming-{}-{turn}", std::process::id()));
        let added = self.add_through(files, name, &incoming, &shelf);
        if incoming.exists()
            && let Err(error) = fs::remove_dir_all(&incoming)
        {
            tracing::warn!("{} cannot be deleted: {error}", incoming.display());
        }
        let outcome = if added.is_ok() { "added" } else { "refused" };
        metrics::counter!("geophone_models_offered_total", "outcome" => outcome).increment(1);
        added
    }

    fn add_through(&self, files: &ModelFiles, name: Option<&str>, incoming: &Path, shelf: &Path) -> Result<(Known, bool), ServiceError> {
        fs::create_dir_all(incoming).map_err(ServiceError::io(format!("make the folder {}", incoming.display())))?;
        files.write(incoming)?;
        let card = geophone_models::read_card(incoming).map_err(refused)?;
        if let Some(name) = name.filter(|name| *name != card.name) {
            return Err(ServiceError::Negative(format!("card.toml names the model `{}`, but it was added as `{name}`", card.name)));
        }
        if let Some(same) = self.find(&format!("{}@{}", card.name, card.version)) {
            return if same.card == card {
                self.sign(&same, incoming)?;
                self.take_back(&same, incoming)?;
                Ok((same, false))
            } else {
                Err(ServiceError::Room { class: Class::Busy, message: taken(&card) })
            };
        }
        let report = trial_run::in_child(incoming, self.memory_bytes, &self.trust)?;
        let folder = shelf.join(&card.name).join(&card.version);
        let placed = fs::create_dir_all(shelf.join(&card.name)).and_then(|()| fs::rename(incoming, &folder));
        placed.map_err(ServiceError::io(format!("keep the model in {}", folder.display())))?;
        for place in [&folder, &shelf.join(&card.name), &shelf.to_owned()] {
            fs::File::open(place)
                .and_then(|opened| opened.sync_all())
                .map_err(ServiceError::io(format!("write {} to the disk", place.display())))?;
        }
        let known = Known { card: report.card, folder: Some(folder) };
        self.learn(known.clone());
        Ok((known, true))
    }

    /// A model that was given up is given another chance if it passes the check once more.
    fn take_back(&self, same: &Known, incoming: &Path) -> Result<(), ServiceError> {
        let Some(mark) = same.folder.as_ref().map(|folder| folder.join(GIVEN_UP_FILE)).filter(|mark| mark.exists()) else {
            return Ok(());
        };
        trial_run::in_child(incoming, self.memory_bytes, &self.trust)?;
        fs::remove_file(&mark).map_err(ServiceError::io(format!("remove {}", mark.display())))
    }

    /// A model that came here unsigned, or signed by somebody trusted no more, is given the signature that came now.
    fn sign(&self, same: &Known, incoming: &Path) -> Result<(), ServiceError> {
        let Some(folder) = same.folder.as_ref().filter(|folder| geophone_models::read_trusted_card(folder, &self.trust).is_err()) else {
            return Ok(());
        };
        geophone_models::read_trusted_card(incoming, &self.trust).map_err(refused)?;
        // The card too: it says the same, but a signature is over bytes.
        for name in ["card.toml", SIGNATURE_FILE] {
            let path = folder.join(name);
            let placed = fs::rename(incoming.join(name), &path).and_then(|()| fs::File::open(folder)?.sync_all());
            placed.map_err(ServiceError::io(format!("keep {}", path.display())))?;
        }
        Ok(())
    }

    /// Keeps which model scores where neither log nor snapshot is needed to read it, and counts those that went back by
    /// themselves.
    pub fn keep_line_up(&self, line_up: &LineUp) {
        self.count_the_gone(line_up);
        let shelf = self.data_dir.join("models");
        let path = shelf.join(LINE_UP_FILE);
        let kept = LineUp { trials: Vec::new(), ..line_up.clone() };
        let text = serde_json::to_vec_pretty(&kept).unwrap_or_default();
        if fs::read(&path).is_ok_and(|known| known == text) {
            return;
        }
        let beside = shelf.join(".line_up.new");
        let written = fs::create_dir_all(&shelf).and_then(|()| fs::write(&beside, text)).and_then(|()| fs::rename(&beside, &path));
        if let Err(error) = written {
            tracing::error!("{} was not written: {error}", path.display());
        }
    }

    fn count_the_gone(&self, line_up: &LineUp) {
        lock(&self.leaving).retain(|model, _| {
            let plays = line_up.active == *model || line_up.trials.iter().any(|trial| trial.model == *model);
            if !plays && line_up.retired.iter().any(|retired| retired.model == *model) {
                metrics::counter!("geophone_models_rollbacks_total", "cause" => "automatic").increment(1);
            }
            plays
        });
    }

    /// What `keep_line_up` kept.
    pub fn kept_line_up(&self) -> Option<LineUp> {
        serde_json::from_slice(&fs::read(self.data_dir.join("models").join(LINE_UP_FILE)).ok()?).ok()
    }
}

fn taken(card: &ModelCard) -> String {
    format!("{}@{} is here already with other content: raise `version` in card.toml", card.name, card.version)
}

pub(super) fn refused(error: geophone_models::ModelError) -> ServiceError {
    ServiceError::Room { class: Class::Reject, message: error.to_string() }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// NAME or NAME@VERSION.
pub(super) fn parse_name(text: &str) -> (&str, Option<&str>) {
    text.split_once('@').map_or((text, None), |(name, version)| (name, Some(version)))
}

/// The newest of these by version: numbers in it count as numbers.
pub(super) fn newest<'a>(known: impl Iterator<Item = &'a Known>) -> Option<&'a Known> {
    known.max_by_key(|known| version_key(&known.card.version))
}

fn version_key(version: &str) -> Vec<(u64, String)> {
    let part = |part: &str| part.parse::<u64>().map_or((0, part.to_owned()), |number| (number, String::new()));
    version.split(['.', '-', '_']).map(part).collect()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(folder).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    let mut paths: Vec<PathBuf> = read.unwrap_or_default();
    paths.sort();
    paths
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}

/// Folders NAME/VERSION whose card says the same; others are named in the log and left alone.
pub(super) fn scan(shelf: &Path) -> Vec<Known> {
    let versions =
        entries(shelf).into_iter().filter(|path| path.is_dir() && !name_of(path).starts_with('.')).flat_map(|name| entries(&name));
    let known = versions.filter_map(|folder| {
        let place = (folder.parent().map(name_of).unwrap_or_default().to_owned(), name_of(&folder).to_owned());
        match geophone_models::read_card(&folder) {
            Ok(card) if (card.name.clone(), card.version.clone()) == place => Some(Known { card, folder: Some(folder) }),
            Ok(card) => {
                tracing::warn!("{} holds {}@{} and is left out", folder.display(), card.name, card.version);
                None
            }
            Err(error) => {
                tracing::warn!("{} is left out: {error}", folder.display());
                None
            }
        }
    });
    known.collect()
}
