//! Reading `card.toml` and holding it against the file and the feature schema.

use crate::{
    error::{ModelError, quoted, sentence},
    graph::Graph,
};
use geophone_proto::{
    feature::FeatureSchema,
    model::{Dimension, ModelCard, TensorCard},
};
use sha2::{Digest, Sha256};

/// SHA-256 in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Parses and checks the card by itself.
pub(crate) fn parse(text: &str) -> Result<ModelCard, ModelError> {
    let refuse = |reason: String| ModelError::Card { reason };
    let card: ModelCard = toml::from_str(text).map_err(|error| refuse(sentence(error.message())))?;
    let word = |text: &str| !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    for (key, value) in [("name", &card.name), ("version", &card.version)] {
        if !word(value) || value.starts_with('.') {
            return Err(refuse(format!("{key} `{value}` is not made of 1 to 64 letters, digits, `-`, `_` and `.`")));
        }
    }
    if card.features.is_empty() {
        return Err(refuse("`features` is empty, the names of the features in order are wanted".into()));
    }
    tensor(
        "input",
        &card.input,
        |shape| matches!(shape, [Dimension::Free(_), Dimension::Fixed(width)] if usize::try_from(*width) == Ok(card.features.len())),
    )
    .map_err(|reason| refuse(format!("{reason}, [\"N\", {}] is wanted", card.features.len())))?;
    tensor("output", &card.output, |shape| matches!(shape, [Dimension::Free(_)] | [Dimension::Free(_), Dimension::Fixed(1)]))
        .map_err(|reason| refuse(format!("{reason}, [\"N\"] or [\"N\", 1] is wanted")))?;
    Ok(card)
}

fn tensor(role: &str, tensor: &TensorCard, fits: impl Fn(&[Dimension]) -> bool) -> Result<(), String> {
    if tensor.dtype != "float32" {
        return Err(format!("{role} `{}` has dtype `{}`, float32", tensor.name, tensor.dtype));
    }
    if fits(&tensor.shape) { Ok(()) } else { Err(format!("{role} `{}` has shape {}", tensor.name, shape_text(&tensor.shape))) }
}

fn shape_text(shape: &[Dimension]) -> String {
    let dims: Vec<String> = shape
        .iter()
        .map(|dimension| match dimension {
            Dimension::Fixed(length) => length.to_string(),
            Dimension::Free(name) => format!("\"{name}\""),
        })
        .collect();
    format!("[{}]", dims.join(", "))
}

/// The bytes are those that the card names.
pub(crate) fn verify_hash(card: &ModelCard, bytes: &[u8]) -> Result<(), ModelError> {
    let found = sha256_hex(bytes);
    if found.eq_ignore_ascii_case(&card.sha256) { Ok(()) } else { Err(ModelError::Hash { expected: card.sha256.clone(), found }) }
}

/// The graph has the input and output that the card names.
pub(crate) fn verify_graph(card: &ModelCard, graph: &Graph) -> Result<(), ModelError> {
    if graph.width != card.features.len() {
        return Err(ModelError::Width {
            left: "model.onnx",
            left_width: graph.width as u64,
            right: "card.toml",
            right_width: card.features.len() as u64,
        });
    }
    for (role, by_card, by_graph) in [("input", &card.input.name, &graph.input), ("first output", &card.output.name, &graph.output)] {
        if by_card != by_graph {
            return Err(ModelError::Card {
                reason: format!("the {role} is `{by_card}` by the card, but `{}` in model.onnx", quoted(by_graph)),
            });
        }
    }
    Ok(())
}

/// The card is for exactly these features.
pub fn verify_schema(card: &ModelCard, schema: &FeatureSchema) -> Result<(), ModelError> {
    if card.features.len() != schema.width() {
        return Err(ModelError::Width {
            left: "card.toml",
            left_width: card.features.len() as u64,
            right: "the feature schema",
            right_width: schema.width() as u64,
        });
    }
    let differs = card.features.iter().zip(&schema.names).enumerate().find(|(_, (own, wanted))| own != wanted);
    let found = match differs {
        Some((place, (own, wanted))) => format!("feature {place} of card.toml is `{own}`, not `{wanted}`,"),
        None if card.feature_schema == schema.id => return Ok(()),
        None => format!("card.toml has feature_schema `{}`", card.feature_schema),
    };
    Err(ModelError::Features { found, expected: schema.id.clone() })
}
