"""Your data, your model: from a running server's features to a promoted model.

    python notebooks/bring_your_own.py --endpoint http://127.0.0.1:8080 --name mine --version 1

1. asks the server which features it has (`models card`) and for their rows (`query`), kept as Parquet;
2. trains on them with scikit-learn: how far a row is from what the rows have in common (`--kind pca`), a
   perceptron with scaler that learns the shipped score (`--kind mlp`), or an isolation forest (`--kind forest`,
   which needs ONNX Runtime on the server);
3. writes model.onnx, card.toml, check.parquet;
4. `models check`, `models add`, `models shadow`; waits until enough windows were compared; prints how the
   model does beside the active one; `models promote` with `--promote`.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl

from pack_model import features_of, from_sklearn, pack, run
from try_runtimes import error_of


def command(options, *words):
    """Runs `geophone ...` against the server; ends with its words where it refuses."""
    remote = [] if "check" in words else ["--endpoint", options.endpoint]
    answer = subprocess.run([options.geophone, *words, *remote, "--output", "json"], capture_output=True, text=True)
    if answer.returncode != 0:
        sys.exit(f"geophone {' '.join(words[:2])}: {answer.stderr.strip()}")
    return answer.stdout


def export(options, features):
    """The newest feature rows, as the Parquet file `features.parquet` of the work folder."""
    columns = ", ".join(f'"{name}"' for name in features)
    rows = json.loads(command(options, "query", f"SELECT series, at_ns, {columns} FROM features ORDER BY at_ns DESC LIMIT {options.rows}"))
    if len(rows) < 200:
        sys.exit(f"the server has {len(rows)} rows of features: let it run for some minutes under traffic, 200 are wanted")
    path = options.work / "features.parquet"
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(path)
    print(f"{len(rows)} rows in {path}")
    return pl.read_parquet(path).select(pl.col(features).cast(pl.Float32).fill_null(0)).to_numpy()


def train(kind, x):
    """The model as ONNX, higher = more anomalous."""
    width = x.shape[1]
    if kind == "pca":
        from sklearn.decomposition import PCA

        tamed = np.sign(x) * np.minimum(np.abs(x), 20)
        fitted = PCA(n_components=min(6, width), random_state=0).fit(tamed)
        up, usual = fitted.components_, fitted.mean_
        return error_of([(up.T, -usual @ up.T, False), (up, usual, True)], width)
    if kind == "forest":
        from sklearn.ensemble import IsolationForest

        return from_sklearn(IsolationForest(n_estimators=50, random_state=0).fit(x), width, "scores", negate=True)
    from sklearn.neural_network import MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    shipped = sorted((Path(__file__).resolve().parent.parent / "models/zoo/default").glob("*/model.onnx"), key=lambda path: int(path.parent.name))[-1]
    target = run(shipped.read_bytes(), x)
    net = MLPRegressor(hidden_layer_sizes=(32,), max_iter=200, random_state=0)
    return from_sklearn(make_pipeline(StandardScaler(), net).fit(x, target), width, "variable")


def show(options, name):
    return json.loads(command(options, "models", "show", name))


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--geophone", default="geophone", help="the program")
    parse.add_argument("--endpoint", default="http://127.0.0.1:8080")
    parse.add_argument("--kind", choices=["pca", "mlp", "forest"], default="mlp")
    parse.add_argument("--name", default="mine")
    parse.add_argument("--version", default="1")
    parse.add_argument("--rows", type=int, default=10_000)
    parse.add_argument("--windows", type=int, default=6, help="windows to compare before the promotion")
    parse.add_argument("--patience", type=float, default=600, help="seconds to wait for them")
    parse.add_argument("--work", type=Path, default=Path("own-model"), help="folder for rows and model")
    parse.add_argument("--promote", action="store_true")
    options = parse.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    features, schema = features_of(command(options, "models", "card", "default"))
    x = export(options, features)
    folder, full = options.work / options.name / options.version, f"{options.name}@{options.version}"
    model = train(options.kind, x)
    pack(folder, model, options.name, options.version, features, schema, x[:: max(1, len(x) // 64)][:64], description=f"{options.kind} trained on own rows")
    report = json.loads(command(options, "models", "check", str(folder)))
    print(f"checked in {report['runtime']}: off by {report['deviation']:.2g} at most")
    command(options, "models", "add", str(folder))
    command(options, "models", "shadow", full)
    deadline = time.monotonic() + options.patience
    while (trial := show(options, full)["trial"]) and trial["windows"] < options.windows:
        if time.monotonic() > deadline:
            sys.exit(f"only {trial['windows']} windows were compared in {options.patience:.0f} s")
        time.sleep(1)
    print(json.dumps(show(options, full), indent=1))
    if options.promote:
        print(json.dumps(json.loads(command(options, "models", "promote", full)), indent=1))


if __name__ == "__main__":
    main()
