//! Models as the API and the command line show them.

use super::registry::{Known, Registry, parse_name};
use geophone_proto::model::{LineUp, ModelRef, Stage, Trial};
use serde_json::{Value, json};

/// One item of `/api/v1/models`.
pub type ModelShown = Value;

/// Every known model with its state, newest version of a name last.
pub fn shown(registry: &Registry, line_up: &LineUp) -> Vec<ModelShown> {
    registry.all().iter().map(|known| one(registry, line_up, known)).collect()
}

/// The item of a model.
pub fn find_shown(registry: &Registry, line_up: &LineUp, model: &ModelRef) -> Option<ModelShown> {
    registry.all().iter().find(|known| known.card.model_ref() == *model).map(|known| one(registry, line_up, known))
}

/// The model meant by NAME or NAME@VERSION: of several versions the active one, then one on trial, then
/// the newest.
pub fn meant(registry: &Registry, line_up: &LineUp, wanted: &str) -> Option<Known> {
    let (name, version) = parse_name(wanted);
    let playing = std::iter::once(&line_up.active).chain(line_up.trials.iter().map(|trial| &trial.model));
    let playing = playing.filter(|model| version.is_none() && model.name == name).map(|model| format!("{}@{}", model.name, model.version));
    let playing = playing.filter_map(|full| registry.find(&full)).next();
    playing.or_else(|| registry.find(wanted))
}

/// `active`, `shadow`, `canary`, `retired` or `available`.
pub fn state_of(line_up: &LineUp, model: &ModelRef) -> &'static str {
    let trial = line_up.trials.iter().find(|trial| trial.model == *model && trial.stage != Stage::Probation);
    let was = line_up.before.contains(model) || line_up.retired.iter().any(|retired| retired.model == *model);
    match trial.map(|trial| trial.stage) {
        _ if line_up.active == *model => "active",
        Some(Stage::Canary) => "canary",
        Some(_) => "shadow",
        None if was => "retired",
        None => "available",
    }
}

fn one(registry: &Registry, line_up: &LineUp, known: &Known) -> ModelShown {
    let model = known.card.model_ref();
    let trial = line_up.trials.iter().find(|trial| trial.model == model);
    let retired = line_up.retired.iter().rev().find(|retired| retired.model == model);
    json!({
        "name": model.name,
        "version": model.version,
        "sha256": model.sha256,
        "state": state_of(line_up, &model),
        "runtime": geophone_models::runtime().name,
        "reason": retired.map(|retired| &retired.reason),
        "given_up": registry.given_up(&model),
        "latency": registry.latency(&model),
        "trial": trial.map(|trial| report(registry, trial)),
    })
}

fn report(registry: &Registry, trial: &Trial) -> Value {
    let [own, other, both] = trial.alerts;
    json!({
        "stage": trial.stage,
        "percent": trial.percent,
        "against": format!("{}@{}", trial.against.name, trial.against.version),
        "since": trial.since,
        "windows": trial.windows,
        "rows": trial.rows,
        "agreement": trial.agreement,
        "score_difference": trial.score_difference,
        "above_limit": trial.above[0],
        "above_limit_against": trial.above[1],
        "alerts": own,
        "alerts_against": other,
        "alerts_both": both,
        "alerts_added": own.saturating_sub(both),
        "alerts_removed": other.saturating_sub(both),
        "failures": trial.failures,
        "latency_against": registry.latency(&trial.against),
    })
}
