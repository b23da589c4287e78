"""Writes the notebooks from the cells below, without outputs. `--check` fails where a file differs.

Notebooks are generated so that a change is a readable diff and no output is ever committed.
`run.sh` executes them.
"""

import json
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent

EXPLORE = [
    """# Explore a data directory

Reads the Parquet files that `geophone serve` seals (hour by hour). Set `GEOPHONE_DATA` to the data directory.""",
    """import os
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl

data = Path(os.environ.get("GEOPHONE_DATA", "../geophone-data"))
files = sorted(data.rglob("*.parquet"))
print(f"{len(files)} Parquet files under {data}")
tables = {}
for file in files:
    name = next((part for part in file.parts if part in ("spans", "metric_points", "logs", "features", "scores", "anomalies", "incidents")), None)
    if name:
        tables.setdefault(name, []).append(file)
{name: len(found) for name, found in tables.items()}""",
    """## What was scored""",
    """if "scores" in tables:
    scores = pl.concat([pl.read_parquet(file) for file in tables["scores"]], how="diagonal_relaxed")
    worst = scores.filter(pl.col("score").is_not_nan()).group_by("series", "service").agg(pl.col("score").max(), pl.len().alias("windows")).sort("score", descending=True)
    display(worst.head(20))""",
    """## Calibrated scores: how often is which value reached?""",
    """if "scores" in tables:
    values = scores["score"].drop_nulls().drop_nans().to_numpy()
    figure, axis = plt.subplots(figsize=(7, 3))
    axis.hist(values, bins=100, log=True, color="#3b6ea8")
    axis.set_xlabel("score")
    axis.set_ylabel("windows")
    plt.show()""",
    """## One series: features over time""",
    """if "features" in tables and "scores" in tables and len(worst):
    features = pl.concat([pl.read_parquet(file) for file in tables["features"]], how="diagonal_relaxed")
    one = features.filter(pl.col("series") == worst["series"][0]).sort("at_ns")
    figure, axis = plt.subplots(figsize=(9, 3))
    for name in ("z_1", "z_6", "z_18"):
        axis.plot(one["at_ns"].cast(pl.Datetime("ns")), one[name], label=name, linewidth=1)
    axis.set_title(f"{worst['service'][0]} {worst['series'][0]}")
    axis.legend()
    plt.show()""",
]

TRAIN = [
    """# Train the shipped model

The same as `train_default.py`, with a look inside. Needs cargo: feature rows come from the one definition in Rust. Writes nothing.""",
    """import os

import train_default as training
import matplotlib.pyplot as plt
import numpy as np

program = os.environ.get("GEOPHONE_FEATURES_CSV")  # a built `features_csv`; else cargo runs it
each = 3 if os.environ.get("GEOPHONE_QUICK") else 10
names, x, y, rule, series = training.feature_rows("seen", training.SEED, each, program)
print(f"{len(y)} windows, {y.mean():.1%} anomalous, {len(names)} features")""",
    """## Which features tell most, each alone?""",
    """weight = training.importance(y, series)
alone = {name: training.average_precision(y, np.abs(x[:, place]), weight) for place, name in enumerate(names)}
order = sorted(alone, key=alone.get)
plt.figure(figsize=(6, 6))
plt.barh(order, [alone[name] for name in order], color="#3b6ea8")
plt.xlabel("average precision alone")
plt.show()""",
    """## Train and judge on families never seen""",
    """layers = training.model_file.round_weights(training.train(names, x, y, weight))
_, x_new, y_new, rule_new, series_new = training.feature_rows("unseen", training.SEED + 1, each, program)
training.report("unseen families", names, x_new, y_new, series_new, rule_new, layers)""",
]

OWN = [
    """# Bring your own model

Rows of features in, one number a row out, higher = more anomalous, any scale. Here: three scikit-learn models on generated rows. With a running
server, `bring_your_own.py` does the same on the rows of your own traffic and goes on to `add`, `shadow` and `promote`.""",
    """import os
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import train_default as training
from pack_model import features_of, from_sklearn, pack, run, shipped_features
from try_runtimes import error_of

program = os.environ.get("GEOPHONE_FEATURES_CSV")  # a built `features_csv`; else cargo runs it
geophone = os.environ.get("GEOPHONE_BIN")  # the program, for the check at the end
each = 2 if os.environ.get("GEOPHONE_QUICK") else 6
names, x, y, rule, series = training.feature_rows("seen", 7, each, program)
_, x_new, y_new, rule_new, series_new = training.feature_rows("unseen", 8, each, program)
print(f"{len(y)} windows to learn from, {y.mean():.1%} anomalous; {len(y_new)} of families never seen")""",
    """## Three models

A perceptron learns the labels; an isolation forest and a PCA know calm rows only. Heavy tails are tamed first, inside the graph where that matters.""",
    """from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

width = len(names)
calm = x[y == 0].astype(np.float32)
perceptron = make_pipeline(StandardScaler(), MLPRegressor(hidden_layer_sizes=(32,), max_iter=60, random_state=0)).fit(x.astype(np.float32), y)
forest = IsolationForest(n_estimators=40, random_state=0).fit(calm)
pca = PCA(n_components=6, random_state=0).fit(calm)
up = pca.components_
models = {
    "perceptron": from_sklearn(perceptron, width, "variable"),
    "forest": from_sklearn(forest, width, "scores", negate=True),
    "pca": error_of([(up.T, -pca.mean_ @ up.T, False), (up, pca.mean_, True)], width),
}
scores = {name: run(model.SerializeToString(), x_new) for name, model in models.items()}
scores["rule"] = rule_new
weight = training.importance(y_new, series_new)
precision = {name: training.average_precision(y_new, found, weight) for name, found in scores.items()}
precision""",
    """## How well does each tell anomalous windows from calm ones?

Left: the share of anomalous windows found against the share of calm ones that score as high. Right: average precision on families never seen.""",
    """figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
colours = {"perceptron": "#3b6ea8", "forest": "#2f8f5b", "pca": "#b3662d", "rule": "#888888"}
for name, found in scores.items():
    order = np.argsort(-found)
    hit, miss = np.cumsum(y_new[order]) / y_new.sum(), np.cumsum(1 - y_new[order]) / (1 - y_new).sum()
    left.plot(miss, hit, label=name, color=colours[name], linewidth=1.6)
left.set_xscale("symlog", linthresh=1e-3)
left.set_xlim(0, 1)
left.set_xlabel("calm windows above")
left.set_ylabel("anomalous windows above")
left.legend(frameon=False)
ranked = sorted(precision, key=precision.get)
right.barh(ranked, [precision[name] for name in ranked], color=[colours[name] for name in ranked])
right.set_xlabel("average precision")
for axis in (left, right):
    axis.spines[["top", "right"]].set_visible(False)
figure.tight_layout()
plt.show()""",
    """## Folders

`pack` writes model.onnx, card.toml and check.parquet; `geophone models check` holds them against each other in a child process.""",
    """work = Path(tempfile.mkdtemp())
features, schema = shipped_features()
for name, model in models.items():
    pack(work / name / "1", model, name, "1", features, schema, x[:: len(x) // 64][:64], description=f"scikit-learn, {name}")
    if geophone:
        answer = subprocess.run([geophone, "models", "check", str(work / name / "1")], capture_output=True, text=True)
        print(name, "is sound" if answer.returncode == 0 else answer.stderr.strip())
sorted(str(path.relative_to(work)) for path in work.rglob("*.*"))""",
    """## And then

```sh
geophone models add FOLDER
geophone models shadow perceptron@1    # scores beside the active model, heard by nobody
geophone models show perceptron@1      # agreement, alerts added and removed, latency
geophone models canary perceptron@1 --percent 10
geophone models promote perceptron@1
geophone models rollback
```""",
]

EVALUATE = [
    """# Evaluate against public data sets

`geophone score` on the labelled series beside the repository (`../shared/datasets`, or `GEOPHONE_DATASETS`): how high do labelled windows score, and
what do good and bad series look like? Skips itself where there are no data sets or no `GEOPHONE_BIN`.""",
    """import os
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

data = Path(os.environ.get("GEOPHONE_DATASETS", "../../shared/datasets"))
geophone = os.environ.get("GEOPHONE_BIN", "geophone")
name = "nab"
source = data / f"{name}.csv.gz"
ready = source.is_file() and subprocess.run(["which", geophone], capture_output=True).returncode == 0
print(source if ready else "no data sets or no program here: nothing is shown")""",
    """if ready:
    rows = pl.read_csv(source, schema_overrides={"series_id": pl.String, "value": pl.Float64})
    ids = rows["series_id"].unique(maintain_order=True)
    if os.environ.get("GEOPHONE_QUICK"):
        ids = ids[:6]
    rows = rows.filter(pl.col("series_id").is_in(ids.implode()))
    work = Path(tempfile.mkdtemp())
    rows.select("series_id", "timestamp", "value").write_csv(work / "in.csv")
    subprocess.run([geophone, "score", "--input", str(work / "in.csv"), "--output", str(work / "out.csv")], check=True, capture_output=True)
    scored = pl.read_csv(work / "out.csv", schema_overrides={"series_id": pl.String, "score": pl.Float64})
    labels = pl.read_csv(data / "labels.csv", schema_overrides={"series_id": pl.String})
    print(f"{len(scored)} rows of {len(ids)} series; columns of the labels: {labels.columns}")""",
    """## Scores of calm and labelled rows""",
    """if ready:
    spans = labels.filter(pl.col("series_id").is_in(ids.implode()))
    begin, end = [column for column in labels.columns if "start" in column][0], [column for column in labels.columns if "end" in column][0]
    is_bad = np.zeros(len(scored), bool)
    at, of = scored["timestamp"].to_numpy(), scored["series_id"].to_numpy()
    for series, first, last in zip(spans["series_id"], spans[begin], spans[end]):
        is_bad |= (of == series) & (at >= first) & (at <= last)
    score = np.nan_to_num(scored["score"].to_numpy())
    figure, axis = plt.subplots(figsize=(7, 3.2))
    bins = np.linspace(0, 1, 60)
    axis.hist(score[~is_bad], bins, density=True, color="#9db7d1", label="calm")
    axis.hist(score[is_bad], bins, density=True, histtype="step", color="#b3362d", linewidth=1.6, label="labelled")
    axis.set_yscale("log")
    axis.set_xlabel("score")
    axis.legend(frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    plt.show()""",
    """## The series with most alerts, and what was labelled""",
    """if ready:
    def day(seconds):
        return np.asarray(seconds).astype("datetime64[s]")

    alerts = scored.group_by("series_id").agg(pl.col("alert").cast(pl.Int64).sum()).sort("alert", descending=True)
    figure, axes = plt.subplots(3, 1, figsize=(9, 6.5))
    for axis, series in zip(axes, alerts["series_id"]):
        one, told = rows.filter(pl.col("series_id") == series), scored.filter(pl.col("series_id") == series)
        axis.plot(day(one["timestamp"]), one["value"], color="#3b6ea8", linewidth=0.7)
        for first, last in labels.filter(pl.col("series_id") == series).select(begin, end).iter_rows():
            axis.axvspan(day(first), day(last), color="#b3362d", alpha=0.15)
        axis.twinx().fill_between(day(told["timestamp"]), told["score"].fill_nan(0), color="#b3662d", alpha=0.35, linewidth=0)
        axis.set_title(series, fontsize=9, loc="left")
    figure.tight_layout()
    plt.show()""",
]


def notebook(cells):
    made = []
    for place, text in enumerate(cells):
        is_code = not text.startswith("#")
        lines = text.splitlines(keepends=True)
        cell = {"cell_type": "code" if is_code else "markdown", "id": f"cell-{place}", "metadata": {}, "source": lines}
        made.append({**cell, "execution_count": None, "outputs": []} if is_code else cell)
    about = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}}
    return json.dumps({"cells": made, "metadata": about, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def main():
    for name, cells in (("01_explore", EXPLORE), ("02_train_default", TRAIN), ("03_bring_your_own_model", OWN), ("04_evaluate", EVALUATE)):
        path = HERE / f"{name}.ipynb"
        if "--check" in sys.argv and path.read_text() != notebook(cells):
            sys.exit(f"{path.name} is not what build_notebooks.py writes")
        path.write_text(notebook(cells))


if __name__ == "__main__":
    main()
