//! Why a model is refused or fails: each message is one sentence for the person who made the model.
//!
//! Text that comes from a runtime passes `sentence`, so that no panic text, path of ours or page of
//! graph dump reaches the user.

use geophone_proto::{Class, seam::SeamError};
use std::path::PathBuf;

/// What can be wrong with a model, its folder or its runtime.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A file of the folder cannot be read.
    #[error("cannot read `{}`: {reason}; a model folder holds model.onnx, card.toml and check.parquet", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// `card.toml` is no card.
    #[error("card.toml: {reason}")]
    Card {
        /// What is wrong.
        reason: String,
    },
    /// The file is not the one that the card describes.
    #[error(
        "model.onnx has the hash sha256 {found}, but card.toml says {expected}: write the new hash into the card if the change was meant"
    )]
    Hash {
        /// By the card.
        expected: String,
        /// By the file.
        found: String,
    },
    /// A key that is none.
    #[error("`{key}` is no minisign public key: write the second line of the .pub file, 56 characters")]
    Key {
        /// As written.
        key: String,
    },
    /// A model of nobody trusted.
    #[error("card.toml is not trusted: {reason}; sign it by `minisign -Sm card.toml` with a key of `models.trusted_keys`")]
    Signature {
        /// What is wrong.
        reason: String,
    },
    /// The bytes are no ONNX graph.
    #[error("model.onnx is not a readable ONNX file: {reason}")]
    NotOnnx {
        /// What is wrong.
        reason: String,
    },
    /// The runtime lacks an operator.
    #[error("operator `{operator}` is not known to {runtime}: {advice}")]
    Operator {
        /// Its type.
        operator: String,
        /// Who lacks it.
        runtime: String,
        /// What to do.
        advice: &'static str,
    },
    /// What it costs would depend on the data, in a runtime that cannot be stopped everywhere.
    #[error(
        "operator `{operator}` gives a tensor whose size depends on the data, and nothing bounds what that costs in {runtime}: install ONNX Runtime \
(`pip install onnxruntime`) and point ORT_DYLIB_PATH at its library, or export the model without it"
    )]
    Unbounded {
        /// Its name in the runtime.
        operator: String,
        /// Which runtime.
        runtime: String,
    },
    /// Two widths that must be equal differ.
    #[error(
        "{left} has {left_width} features, but {right} has {right_width}: train the model on the features that `geophone models card` prints"
    )]
    Width {
        /// First place.
        left: &'static str,
        /// Its width.
        left_width: u64,
        /// Second place.
        right: &'static str,
        /// Its width.
        right_width: u64,
    },
    /// The features are others, or in another order.
    #[error("{found} where feature schema {expected} is scored: train the model on the features that `geophone models card` prints")]
    Features {
        /// What the card holds.
        found: String,
        /// Id of the right schema.
        expected: String,
    },
    /// An input or output that does not fit.
    #[error("model.onnx: {reason}")]
    Tensor {
        /// What is wrong and what is wanted.
        reason: String,
    },
    /// Weights that cannot compute.
    #[error("model.onnx: weight `{name}` holds NaN: train again")]
    WeightNan {
        /// The initializer.
        name: String,
    },
    /// `check.parquet` cannot serve.
    #[error("check.parquet: {reason}")]
    CheckRows {
        /// What is wrong and what is wanted.
        reason: String,
    },
    /// The model does not compute what the card promises.
    #[error("check row {row}: {runtime} computes {found}, but check.parquet expects {expected} within {tolerance}")]
    Differs {
        /// Row of `check.parquet`.
        row: usize,
        /// Who computed.
        runtime: String,
        /// By the file.
        expected: f32,
        /// By the runtime.
        found: f32,
        /// Allowed difference.
        tolerance: f32,
    },
    /// It does, as far as float32 goes, which is not as far as is asked of scores of this size.
    #[error(
        "check row {row}: {runtime} computes {found}, but check.parquet expects {expected} within {tolerance}, and float32 does not hold a score \
of this size so exactly: divide the output inside the graph by a constant, or take its logarithm (any scale is fine), then write the new \
`sha256` into card.toml and `expected` anew"
    )]
    TooLarge {
        /// Row of `check.parquet`.
        row: usize,
        /// Who computed.
        runtime: String,
        /// By the file.
        expected: f32,
        /// By the runtime.
        found: f32,
        /// Allowed difference.
        tolerance: f32,
    },
    /// A score that is no number.
    #[error("check row {row}: the score is {found} in {runtime}, a finite number is wanted (NaN and infinity cannot be ranked)")]
    NotFinite {
        /// Row of `check.parquet`.
        row: usize,
        /// Who computed.
        runtime: String,
        /// What came out.
        found: f32,
    },
    /// The runtime failed while it read or ran the graph.
    #[error("{runtime} cannot {doing} this model: {reason}")]
    Runtime {
        /// Which runtime.
        runtime: String,
        /// `load` or `run`.
        doing: &'static str,
        /// What it said, cut.
        reason: String,
    },
    /// The runtime asked for is not there.
    #[error("no ONNX Runtime in this process: {reason}")]
    NoRuntime {
        /// Why.
        reason: String,
    },
    /// The check needed more memory than allowed.
    #[error("the check needed more than {limit_mib} MiB of memory: make the model smaller or raise `memory_limit`")]
    Memory {
        /// The limit.
        limit_mib: u64,
    },
    /// The check took too long.
    #[error("the check took longer than {limit_s} s of time: make the model smaller")]
    Time {
        /// The limit.
        limit_s: u64,
    },
    /// The checking process died.
    #[error("the runtime crashed on this model ({reason}): export it with other operators or try another runtime")]
    Crashed {
        /// How it ended.
        reason: String,
    },
}

impl ModelError {
    /// What it asks of the caller.
    pub const fn class(&self) -> Class {
        match self {
            Self::Unreadable { .. } | Self::NoRuntime { .. } | Self::Key { .. } => Class::Config,
            Self::Card { .. }
            | Self::Hash { .. }
            | Self::Signature { .. }
            | Self::NotOnnx { .. }
            | Self::Operator { .. }
            | Self::Unbounded { .. }
            | Self::Width { .. }
            | Self::Features { .. }
            | Self::Tensor { .. }
            | Self::WeightNan { .. }
            | Self::CheckRows { .. }
            | Self::Differs { .. }
            | Self::TooLarge { .. }
            | Self::NotFinite { .. }
            | Self::Runtime { .. }
            | Self::Memory { .. }
            | Self::Time { .. }
            | Self::Crashed { .. } => Class::Reject,
        }
    }

    /// The label of `geophone_models_refused_total`.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "unreadable",
            Self::Card { .. } => "card",
            Self::Hash { .. } => "hash",
            Self::Key { .. } | Self::Signature { .. } => "signature",
            Self::NotOnnx { .. } => "not_onnx",
            Self::Operator { .. } | Self::Unbounded { .. } => "operator",
            Self::Width { .. } => "width",
            Self::Features { .. } => "features",
            Self::Tensor { .. } => "tensor",
            Self::WeightNan { .. } | Self::NotFinite { .. } => "nan",
            Self::CheckRows { .. } => "check_rows",
            Self::Differs { .. } | Self::TooLarge { .. } => "differs",
            Self::Runtime { .. } => "runtime",
            Self::NoRuntime { .. } => "no_runtime",
            Self::Memory { .. } => "memory",
            Self::Time { .. } => "time",
            Self::Crashed { .. } => "crashed",
        }
    }

    /// The seam's form.
    pub fn seam(&self) -> SeamError {
        SeamError { class: self.class(), message: self.to_string() }
    }
}

/// Foreign text made fit for one sentence: one line, at most 240 characters, no full stop.
pub(crate) fn sentence(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let line = words.join(" ");
    let line = line.trim_end_matches('.');
    match line.char_indices().nth(240) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None if line.is_empty() => "it gave no reason".into(),
        None => line.into(),
    }
}

/// A name from a foreign file made fit to be quoted: no control characters, at most 80 characters.
pub(crate) fn quoted(name: &str) -> String {
    let shown: String = name.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect();
    if shown.len() < name.len() { format!("{shown}...") } else { shown }
}

/// What a caught panic said, without the words of the panic machinery.
pub(crate) fn panic_sentence(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or_default();
    if text.starts_with("called `") || text.contains("unwrap()") || text.contains("index out of bounds") || text.is_empty() {
        return "the graph is outside of what it can handle".into();
    }
    sentence(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_becomes_one_short_line() {
        assert_eq!(sentence("a\n  b.\n"), "a b");
        assert_eq!(sentence(" "), "it gave no reason");
        assert_eq!(sentence(&"x".repeat(1000)).len(), 243);
        let shown = panic_sentence(&"called `Option::unwrap()` on a `None` value");
        assert!(!shown.contains("unwrap"), "{shown}");
    }
}
