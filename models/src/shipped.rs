//! The model that comes with the binary: `zoo/default`, embedded, so that no file must be found.

use crate::{card, check_rows::CheckRows, error::ModelError, onnx_model::OnnxModel, runtime::Runtime};
use geophone_proto::{model::ModelCard, seam::Model};

const MODEL: &[u8] = include_bytes!("../zoo/default/1/model.onnx");
const CARD: &str = include_str!("../zoo/default/1/card.toml");
const CHECK: &[u8] = include_bytes!("../zoo/default/1/check.parquet");

/// The shipped model in the runtime of this process; in the embedded one where that refuses it.
pub fn shipped() -> Result<Box<dyn Model>, ModelError> {
    let runtime = Runtime::of_this_process();
    match shipped_with(runtime) {
        Err(error) if runtime != Runtime::Embedded => {
            metrics::counter!("geophone_models_runtime_fallbacks_total").increment(1);
            tracing::warn!(%error, "the embedded model runtime takes over for the shipped model");
            shipped_with(Runtime::Embedded)
        }
        done => done,
    }
}

/// The shipped model in this runtime.
pub fn shipped_with(runtime: Runtime) -> Result<Box<dyn Model>, ModelError> {
    let card = card::parse(CARD)?;
    let rows = CheckRows::read(CHECK, &card)?;
    Ok(Box::new(OnnxModel::open(MODEL, card, &rows, runtime)?))
}

/// Its card.
pub fn shipped_card() -> ModelCard {
    card::parse(CARD).expect("the embedded card is valid: a test reads it")
}

/// The bytes of its three files, by name: for whoever writes the zoo to disk.
pub const fn shipped_files() -> [(&'static str, &'static [u8]); 3] {
    [("model.onnx", MODEL), ("card.toml", CARD.as_bytes()), ("check.parquet", CHECK)]
}
