"""What each runtime takes: small models of many kinds, each checked with ONNX Runtime and without.

    python notebooks/try_runtimes.py --geophone target/release/geophone [--docs docs/models.md]

Prints a Markdown table; with `--docs` it replaces the one between the marks of that file. The models are
trained on seeded rows within a minute; none is kept.
"""

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import model_file
from pack_model import INPUT, from_sklearn, pack, shipped_features

BEGIN, END = "<!-- table of runtimes: begin -->", "<!-- table of runtimes: end -->"


def rows_of(width, seed=7, count=2_000):
    """Rows like features: mostly small, heavy tails; and a target that grows with their size."""
    dice = np.random.default_rng(seed)
    x = (dice.standard_normal((count, width)) * (1 + 4 * (dice.random((count, 1)) < 0.05))).astype(np.float32)
    return x, np.log1p(np.abs(x)).mean(axis=1)


def graph(nodes, weights, width, ops=()):
    """A graph of these nodes from INPUT to `score`."""
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    made = helper.make_graph(
        [helper.make_node(kind, inputs, outputs, f"{kind}_{place}", **more) for place, (kind, inputs, outputs, more) in enumerate(nodes)],
        "tried",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])],
        tensors,
    )
    sets = [helper.make_opsetid("", model_file.OPSET), *(helper.make_opsetid(domain, version) for domain, version in ops)]
    return helper.make_model(made, opset_imports=sets, ir_version=8)


def normal(seed, *shape):
    return (np.random.default_rng(seed).standard_normal(shape) * 0.3).astype(np.float32)


def recurrent(kind, gates, width, hidden=8):
    """The features as a sequence of numbers through a recurrent layer, as torch.onnx.export writes it."""
    outputs = {"GRU": ["", "last"], "LSTM": ["", "last", ""]}[kind]
    nodes = [
        ("Transpose", [INPUT], ["turned"], {"perm": [1, 0]}),
        ("Unsqueeze", ["turned", "axis_2"], ["sequence"], {}),
        (kind, ["sequence", "w", "r", "b"], outputs, {"hidden_size": hidden}),
        ("Squeeze", ["last", "axis_0"], ["state"], {}),
        ("Gemm", ["state", "out", "bias"], ["score"], {}),
    ]
    weights = {
        "axis_2": np.array([2]),
        "axis_0": np.array([0]),
        "w": normal(1, 1, gates * hidden, 1),
        "r": normal(2, 1, gates * hidden, hidden),
        "b": normal(3, 1, 2 * gates * hidden),
        "out": normal(4, hidden, 1),
        "bias": np.zeros(1, np.float32),
    }
    return graph(nodes, weights, width)


def tcn(width, channels=8):
    """Dilated causal convolutions over the features."""
    nodes = [("Unsqueeze", [INPUT, "axis_1"], ["c0"], {})]
    weights = {"axis_1": np.array([1]), "out": normal(9, channels, 1), "bias": np.zeros(1, np.float32)}
    for place, dilation in enumerate((1, 2, 4)):
        weights[f"w{place}"] = normal(10 + place, channels, 1 if place == 0 else channels, 3)
        nodes.append(("Conv", [f"c{place}", f"w{place}"], [f"d{place}"], {"dilations": [dilation], "pads": [2 * dilation, 0], "kernel_shape": [3]}))
        nodes.append(("Relu", [f"d{place}"], [f"c{place + 1}"], {}))
    nodes += [("GlobalAveragePool", ["c3"], ["pooled"], {}), ("Flatten", ["pooled"], ["flat"], {"axis": 1}), ("Gemm", ["flat", "out", "bias"], ["score"], {})]
    return graph(nodes, weights, width)


def attention(width, size=8):
    """One head of self-attention over the features, with layer normalisation."""
    nodes = [("Unsqueeze", [INPUT, "axis_2"], ["tokens"], {}), ("Mul", ["tokens", "embed"], ["scaled"], {}), ("Add", ["scaled", "place"], ["e"], {})]
    nodes += [("MatMul", ["e", f"w{name}"], [name], {}) for name in "qkv"]
    nodes += [
        ("Transpose", ["k"], ["kt"], {"perm": [0, 2, 1]}),
        ("MatMul", ["q", "kt"], ["alike"], {}),
        ("Div", ["alike", "root"], ["tamed"], {}),
        ("Softmax", ["tamed"], ["weights"], {"axis": -1}),
        ("MatMul", ["weights", "v"], ["mixed"], {}),
        ("Add", ["mixed", "e"], ["residual"], {}),
        ("LayerNormalization", ["residual", "gain", "shift"], ["normed"], {"axis": -1}),
        ("ReduceMean", ["normed"], ["mean"], {"axes": [1], "keepdims": 0}),
        ("Gemm", ["mean", "out", "bias"], ["score"], {}),
    ]
    weights = {
        "axis_2": np.array([2]),
        "embed": normal(20, 1, 1, size),
        "place": normal(21, 1, width, size),
        **{f"w{name}": normal(22 + place, size, size) for place, name in enumerate("qkv")},
        "root": np.float32(np.sqrt(size)),
        "gain": np.ones(size, np.float32),
        "shift": np.zeros(size, np.float32),
        "out": normal(26, size, 1),
        "bias": np.zeros(1, np.float32),
    }
    return graph(nodes, weights, width)


def error_of(layers, width, scale=None):
    """Mean squared error of a reconstruction by dense layers: autoencoders, and PCA without activation."""
    nodes, weights, last = [], {}, INPUT
    for place, (weight, bias, is_last) in enumerate(layers):
        weights[f"w{place}"], weights[f"b{place}"] = weight.astype(np.float32), bias.astype(np.float32)
        nodes.append(("Gemm", [last, f"w{place}", f"b{place}"], [f"l{place}"], {}))
        last = f"l{place}"
        if scale == "relu" and not is_last:
            nodes.append(("Relu", [last], [f"r{place}"], {}))
            last = f"r{place}"
    nodes += [("Sub", [last, INPUT], ["off"], {}), ("Mul", ["off", "off"], ["square"], {}), ("ReduceMean", ["square"], ["score"], {"axes": [1], "keepdims": 1})]
    return graph(nodes, weights, width)


def loop(width):
    """A Loop that adds three times: control flow."""
    body = helper.make_graph(
        [helper.make_node("Add", ["sum", "sum"], ["more"]), helper.make_node("Identity", ["go"], ["going"])],
        "body",
        [helper.make_tensor_value_info("i", TensorProto.INT64, []), helper.make_tensor_value_info("go", TensorProto.BOOL, []), helper.make_tensor_value_info("sum", TensorProto.FLOAT, None)],
        [helper.make_tensor_value_info("going", TensorProto.BOOL, []), helper.make_tensor_value_info("more", TensorProto.FLOAT, None)],
    )
    nodes = [("ReduceMean", [INPUT], ["mean"], {"axes": [1], "keepdims": 1}), ("Loop", ["trips", "", "mean"], ["score"], {"body": body})]
    return graph(nodes, {"trips": np.array(3)}, width)


def candidates(width):
    """(kind, how it was made, a function that makes it)."""
    from sklearn.decomposition import PCA
    from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, IsolationForest, RandomForestRegressor
    from sklearn.linear_model import LinearRegression
    from sklearn.neighbors import LocalOutlierFactor
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import RobustScaler, StandardScaler
    from sklearn.svm import OneClassSVM

    x, y = rows_of(width)

    def dense(scaler=None):
        net = MLPRegressor(hidden_layer_sizes=(16,), max_iter=60, random_state=0)
        return from_sklearn(make_pipeline(*([scaler] if scaler else []), net).fit(x, y), width, "variable")

    def autoencoder():
        net = MLPRegressor(hidden_layer_sizes=(8, 3, 8), max_iter=60, random_state=0).fit(x, x)
        count = len(net.coefs_)
        return error_of([(w, b, place + 1 == count) for place, (w, b) in enumerate(zip(net.coefs_, net.intercepts_))], width, "relu")

    def pca():
        fitted = PCA(n_components=4, random_state=0).fit(x)
        up = fitted.components_
        return error_of([(up.T, -fitted.mean_ @ up.T, False), (up, fitted.mean_, True)], width)

    def pca_regressor():
        return from_sklearn(make_pipeline(StandardScaler(), PCA(n_components=4, random_state=0), LinearRegression()).fit(x, y), width, "variable")

    trees = lambda kind: from_sklearn(kind.fit(x, y), width, "variable")
    forest = lambda: from_sklearn(IsolationForest(n_estimators=30, random_state=0).fit(x), width, "scores", negate=True)
    return [
        ("perceptron", "scikit-learn `MLPRegressor`", dense),
        ("perceptron with scaler", "`StandardScaler`, `MLPRegressor`", lambda: dense(StandardScaler())),
        ("perceptron with robust scaler", "`RobustScaler`, `MLPRegressor`", lambda: dense(RobustScaler())),
        ("autoencoder", "`MLPRegressor` from rows to rows, error as score", autoencoder),
        ("PCA, reconstruction error", "`PCA`, written as two layers", pca),
        ("PCA before a regression", "`StandardScaler`, `PCA`, `LinearRegression`", pca_regressor),
        ("isolation forest", "`IsolationForest`, output `scores` negated", forest),
        ("random forest", "`RandomForestRegressor`", lambda: trees(RandomForestRegressor(n_estimators=20, max_depth=8, random_state=0))),
        ("gradient boosting", "`GradientBoostingRegressor`", lambda: trees(GradientBoostingRegressor(n_estimators=40, random_state=0))),
        ("histogram gradient boosting", "`HistGradientBoostingRegressor`", lambda: trees(HistGradientBoostingRegressor(max_iter=40, random_state=0))),
        ("one-class SVM", "`OneClassSVM`, output `scores` negated", lambda: from_sklearn(OneClassSVM(nu=0.05).fit(x[:400]), width, "scores", negate=True)),
        ("local outlier factor", "`LocalOutlierFactor(novelty=True)`", lambda: from_sklearn(LocalOutlierFactor(novelty=True).fit(x[:400]), width, "scores", negate=True)),
        ("GRU", "graph as `torch.onnx.export` writes it", lambda: recurrent("GRU", 3, width)),
        ("LSTM", "graph as `torch.onnx.export` writes it", lambda: recurrent("LSTM", 4, width)),
        ("TCN", "dilated `Conv`", lambda: tcn(width)),
        ("attention", "`MatMul`, `Softmax`, `LayerNormalization`", lambda: attention(width)),
        ("control flow", "`Loop`", lambda: loop(width)),
    ]


def check(geophone, folder, environment):
    """The answer of `geophone models check`: `yes`, or its refusal."""
    answer = subprocess.run([geophone, "models", "check", str(folder), "--output", "json"], env=environment, capture_output=True, text=True)
    if answer.returncode == 0:
        return "yes"
    return "no: " + answer.stderr.strip().splitlines()[-1].removeprefix("error: ").replace("|", "\\|")


def library():
    """The library of the installed ONNX Runtime."""
    import onnxruntime

    return str(next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so*")))


def main():
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--geophone", default="geophone")
    parse.add_argument("--docs", type=Path)
    parse.add_argument("--keep", type=Path, help="keep the folders here")
    options = parse.parse_args()
    features, schema = shipped_features()
    width = len(features)
    plain = {name: value for name, value in os.environ.items() if name != "ORT_DYLIB_PATH"}
    # A library that does not exist keeps the process from finding another one.
    embedded, native = {**plain, "ORT_DYLIB_PATH": "/nonexistent"}, {**plain, "ORT_DYLIB_PATH": library()}
    lines = ["| kind | made by | size | operators | ONNX Runtime | embedded runtime |", "|---|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as scratch:
        for kind, made_by, make in candidates(width):
            folder = (options.keep or Path(scratch)) / kind.replace(" ", "-").replace(",", "")
            try:
                model = make()
                pack(folder, model, kind.split(" ")[0].strip(",").lower(), "1", features, schema, rows_of(width, 11, 32)[0], description=made_by)
            except Exception as error:  # an export that is not possible is a finding too
                lines.append(f"| {kind} | {made_by} | - | - | not exported: {str(error).splitlines()[0][:120]} | |")
                continue
            operators = ", ".join(sorted({node.op_type for node in onnx.load(folder / "model.onnx").graph.node}))
            size = f"{(folder / 'model.onnx').stat().st_size / 1024:.0f} KiB"
            answers = [check(options.geophone, folder, environment) for environment in (native, embedded)]
            lines.append(f"| {kind} | {made_by} | {size} | {operators} | {answers[0]} | {answers[1]} |")
            print(lines[-1], flush=True)
    table = "\n".join(lines)
    print(table)
    if options.docs:
        text = options.docs.read_text()
        before, rest = text.split(BEGIN)
        options.docs.write_text(before + BEGIN + "\n" + table + "\n" + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
