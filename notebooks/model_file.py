"""Writes a model folder: model.onnx, card.toml, check.parquet.

The file holds a small perceptron as plain operators (Abs, Add, Log, Gemm, Relu), so that
every ONNX runtime computes the same numbers. Bytes depend on the weights and on nothing else.
Used by train_default.py and by the notebook on bringing your own model.
"""

import hashlib
import math
from pathlib import Path

import numpy as np
import onnx
import polars as pl
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
INPUT, OUTPUT = "features", "score"


def squash(x):
    """ln(1 + |x|): sides are told apart by the features themselves, large deviations are tamed."""
    return np.log(1 + np.abs(x))


def forward(x, layers):
    """The numbers that the graph computes, in the precision of `x`."""
    hidden = squash(x)
    for place, (weight, bias) in enumerate(layers):
        hidden = hidden @ weight + bias
        if place + 1 < len(layers):
            hidden = np.maximum(hidden, 0)
    return hidden[:, 0]


def graph(features, layers):
    """The ONNX model of these layers; `layers` is a list of (weight [in, out], bias [out])."""
    width = len(features)
    nodes = [
        helper.make_node("Abs", [INPUT], ["size"], "size"),
        helper.make_node("Add", ["size", "one"], ["size_plus_one"], "size_plus_one"),
        helper.make_node("Log", ["size_plus_one"], ["squashed"], "squashed"),
    ]
    weights = [numpy_helper.from_array(np.array([1.0], np.float32), "one")]
    last = "squashed"
    for place, (weight, bias) in enumerate(layers):
        final = place + 1 == len(layers)
        weights.append(numpy_helper.from_array(np.ascontiguousarray(weight, np.float32), f"weight_{place}"))
        weights.append(numpy_helper.from_array(np.ascontiguousarray(bias, np.float32), f"bias_{place}"))
        made = OUTPUT if final else f"linear_{place}"
        nodes.append(helper.make_node("Gemm", [last, f"weight_{place}", f"bias_{place}"], [made], f"gemm_{place}"))
        last = made
        if not final:
            last = f"hidden_{place}"
            nodes.append(helper.make_node("Relu", [made], [last], f"relu_{place}"))
    made = helper.make_graph(
        nodes,
        "geophone",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["N", 1])],
        weights,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8, producer_name="geophone")
    onnx.checker.check_model(model)
    return model


def card(name, version, sha256, schema, features, **about):
    """The text of card.toml."""
    quote = lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    lines = [f"name = {quote(name)}", f"version = {quote(version)}", f"sha256 = {quote(sha256)}", f"feature_schema = {quote(schema)}"]
    lines += ["features = ["] + [f"    {quote(feature)}," for feature in features] + ["]"]
    lines += [f"{key} = {quote(text)}" for key, text in about.items()] + [f"opset = {OPSET}"]
    for role, tensor, width in (("input", INPUT, len(features)), ("output", OUTPUT, 1)):
        lines += ["", f"[{role}]", f"name = {quote(tensor)}", 'dtype = "float32"', f'shape = ["N", {width}]']
    return "\n".join(lines) + "\n"


def write(folder, name, version, schema, features, layers, check_rows, **about):
    """Writes the three files; `check_rows` is float32 [rows, features] with at least 16 rows."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = graph(features, layers).SerializeToString(deterministic=True)
    (folder / "model.onnx").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    (folder / "card.toml").write_text(card(name, version, digest, schema, features, **about))
    check_rows = np.asarray(check_rows, np.float32)
    expected = forward(check_rows.astype(np.float64), [(w.astype(np.float32).astype(np.float64), b.astype(np.float32).astype(np.float64)) for w, b in layers])
    columns = {feature: check_rows[:, place] for place, feature in enumerate(features)}
    pl.DataFrame({**columns, "expected": expected.astype(np.float32)}).write_parquet(folder / "check.parquet", compression="uncompressed", statistics=False)
    return digest


def schema_id(features):
    """xxh3-64 of the names joined by newlines, in hex: the id that `geophone models card` prints."""
    import xxhash

    return xxhash.xxh3_64_hexdigest("\n".join(features).encode())


def round_weights(layers, bits=10):
    """Weights on a grid of 2^-bits: the last bits of a machine's arithmetic cannot change the file."""
    grid = math.ldexp(1.0, bits)
    return [(np.round(w * grid) / grid, np.round(b * grid) / grid) for w, b in layers]
