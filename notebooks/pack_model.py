"""Packs any ONNX model into a folder that `geophone models check` takes.

`score_output` makes one output of a graph the score (first output, float32, [N] or [N, 1], higher = more
anomalous); `pack` writes model.onnx, card.toml and check.parquet, the expected scores computed by
ONNX Runtime, or by the reference of the `onnx` package where that is not installed.
"""

import hashlib
import json
import tomllib
from pathlib import Path

import numpy as np
import onnx
import polars as pl
from onnx import TensorProto, helper

import model_file

INPUT = "features"


def shipped_features():
    """Names and schema id of the features, from the shipped model's card in this repository."""
    cards = sorted((Path(__file__).resolve().parent.parent / "models/zoo/default").glob("*/card.toml"), key=lambda path: int(path.parent.name))
    card = tomllib.loads(cards[-1].read_text())
    return card["features"], card["feature_schema"]


def features_of(card_json):
    """The same from what `geophone models card` prints."""
    card = json.loads(card_json)
    return card["features"], card["feature_schema"]


def score_output(model, output, negate=False):
    """Keeps one output of the graph and makes it the score; `negate` where lower means more anomalous."""
    graph = model.graph
    made = "score"
    if negate:
        graph.node.append(helper.make_node("Neg", [output], [made], "score_sign"))
    else:
        graph.node.append(helper.make_node("Identity", [output], [made], "score_name"))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(made, TensorProto.FLOAT, ["N", 1]))
    return model


def run(content, rows):
    """Scores of these rows."""
    rows = np.asarray(rows, np.float32)
    try:
        import onnxruntime

        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        found = session.run(None, {session.get_inputs()[0].name: rows})[0]
    except ImportError:
        from onnx.reference import ReferenceEvaluator

        evaluator = ReferenceEvaluator(onnx.load_from_string(content))
        found = evaluator.run(None, {evaluator.input_names[0]: rows})[0]
    return np.asarray(found, np.float32).reshape(len(rows))


def pack(folder, model, name, version, features, schema, check_rows, expected=None, **about):
    """Writes the folder of an ONNX model; `check_rows` is [rows, features], at least 16 rows."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = model.SerializeToString(deterministic=True)
    (folder / "model.onnx").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    quote = json.dumps
    lines = [f"name = {quote(name)}", f"version = {quote(version)}", f"sha256 = {quote(digest)}", f"feature_schema = {quote(schema)}"]
    lines += ["features = [" + ", ".join(quote(feature) for feature in features) + "]"]
    lines += [f"{key} = {quote(text)}" for key, text in about.items()]
    weights = {tensor.name for tensor in model.graph.initializer}
    own = next(value.name for value in model.graph.input if value.name not in weights)
    for role, tensor, width in (("input", own, len(features)), ("output", model.graph.output[0].name, 1)):
        lines += ["", f"[{role}]", f"name = {quote(tensor)}", 'dtype = "float32"', f'shape = ["N", {width}]']
    (folder / "card.toml").write_text("\n".join(lines) + "\n")
    rows = np.asarray(check_rows, np.float32)
    expected = run(content, rows) if expected is None else np.asarray(expected, np.float32)
    columns = {feature: np.ascontiguousarray(rows[:, place]) for place, feature in enumerate(features)}
    pl.DataFrame({**columns, "expected": expected}).write_parquet(folder / "check.parquet", compression="uncompressed", statistics=False)
    return digest


def from_sklearn(estimator, width, output, negate=False, **options):
    """A fitted scikit-learn estimator as ONNX with a score as its first output."""
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    target = {"": model_file.OPSET, "ai.onnx.ml": 3}
    made = to_onnx(estimator, initial_types=[(INPUT, FloatTensorType([None, width]))], target_opset=target, **options)
    return score_output(made, output, negate)
