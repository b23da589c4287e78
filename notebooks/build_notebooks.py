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
    """import train_default as training
import matplotlib.pyplot as plt
import numpy as np

program = None  # or the path of a built `features_csv`
names, x, y, rule, series = training.feature_rows("seen", training.SEED, 10, program)
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
_, x_new, y_new, rule_new, series_new = training.feature_rows("unseen", training.SEED + 1, 10, program)
training.report("unseen families", names, x_new, y_new, series_new, rule_new, layers)""",
]

OWN = [
    """# Bring your own model

Rows of features in, one number a row out, higher = more anomalous. Train with whatever writes ONNX; here scikit-learn.

1. Features: `geophone models card default > card.json` says names and schema; `geophone query "SELECT * FROM features"` or the Parquet files give rows. Here: generated ones.""",
    """import numpy as np
import train_default as training
from sklearn.neural_network import MLPClassifier

program = None  # or the path of a built `features_csv`
names, x, y, rule, series = training.feature_rows("seen", 7, 6, program)
model = MLPClassifier((16,), max_iter=40, random_state=0).fit(x.astype(np.float32), y)""",
    """2. ONNX. The score is the network before its last sigmoid, so that extreme rows can still be told apart. `model_file.write` makes graph, card and check rows of plain layers; it takes ln(1 + |x|) first, so train on that.""",
    """import model_file

model = MLPClassifier((16,), max_iter=40, random_state=0).fit(model_file.squash(x), y)
layers = list(zip(model.coefs_, model.intercepts_))
digest = model_file.write("/tmp/geophone-own/mine/1", "mine", "1", model_file.schema_id(names), names, layers, training.check_rows(x), description="scikit-learn perceptron")
digest""",
    """3. Other nets: convert with `skl2onnx` or `torch.onnx.export`, then write the card by hand. The first output must be float32 `[N]` or `[N, 1]`.""",
    """try:
    from skl2onnx import to_onnx
    from sklearn.decomposition import PCA
    from sklearn.pipeline import make_pipeline

    exported = to_onnx(make_pipeline(PCA(4)).fit(x.astype(np.float32)), x[:1].astype(np.float32))
    print([node.op_type for node in exported.graph.node])
except ImportError:
    print("skl2onnx is not installed: pip install skl2onnx")""",
    """4. Check, then watch it beside the active model:

```sh
geophone models check /tmp/geophone-own/mine/1
geophone models add /tmp/geophone-own/mine/1
geophone models shadow mine@1
geophone models promote mine@1
```""",
]


def notebook(cells):
    made = []
    for place, text in enumerate(cells):
        is_code = not text.startswith(("#", "1.", "2.", "3.", "4."))
        lines = text.splitlines(keepends=True)
        cell = {"cell_type": "code" if is_code else "markdown", "id": f"cell-{place}", "metadata": {}, "source": lines}
        made.append({**cell, "execution_count": None, "outputs": []} if is_code else cell)
    about = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}}
    return json.dumps({"cells": made, "metadata": about, "nbformat": 4, "nbformat_minor": 5}, indent=1) + "\n"


def main():
    for name, cells in (("01_explore", EXPLORE), ("02_train_default", TRAIN), ("03_bring_your_own_model", OWN)):
        path = HERE / f"{name}.ipynb"
        if "--check" in sys.argv and path.read_text() != notebook(cells):
            sys.exit(f"{path.name} is not what build_notebooks.py writes")
        path.write_text(notebook(cells))


if __name__ == "__main__":
    main()
