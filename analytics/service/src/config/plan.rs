//! The difference of two configurations: what a reload takes over and what needs a restart.

use super::{build::Config, fields::FIELDS};

/// One value that differs.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Change {
    /// Where.
    pub path: &'static str,
    /// What is in force; null at the start.
    pub from: serde_json::Value,
    /// What was asked for.
    pub to: serde_json::Value,
    /// Whether it can be taken over while the service runs.
    pub live: bool,
}

/// What differs. The start is the plan from nothing; taking it back is `flipped`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Plan {
    /// In the order of the reference page.
    pub changes: Vec<Change>,
}

impl Plan {
    /// From one configuration, or nothing, to another.
    pub fn between(from: Option<&Config>, to: &Config) -> Self {
        let old = |path| from.and_then(|config| config.effective.get(path)).cloned().unwrap_or_default();
        let new = |path| to.effective.get(path).cloned().unwrap_or_default();
        let changes = FIELDS
            .iter()
            .map(|field| Change { path: field.path, from: old(field.path), to: new(field.path), live: field.live })
            .filter(|change| change.from != change.to)
            .collect();
        Self { changes }
    }

    /// The way back.
    #[must_use]
    pub fn flipped(&self) -> Self {
        let back = |change: &Change| Change { from: change.to.clone(), to: change.from.clone(), ..change.clone() };
        Self { changes: self.changes.iter().map(back).collect() }
    }

    /// Paths that a running service cannot take over.
    pub fn needs_restart(&self) -> Vec<&'static str> {
        self.changes.iter().filter(|change| !change.live).map(|change| change.path).collect()
    }

    /// Whether anything that can be taken over differs.
    pub fn has_live(&self) -> bool {
        self.changes.iter().any(|change| change.live)
    }
}
