"""Trains the shipped model: `python notebooks/train_default.py` from the root of the repository.

Series come from `generate_series.py` (seeded), feature rows from the one definition in Rust (example
`features_csv` of geophone-engine), training is full-batch Adam in float64 on one thread, and weights
end on a grid of 1/1024: the same file comes out everywhere. `--check` trains again and compares.

The network sees ln(1 + |feature|). Weights from deviations on are never negative, so the score never
falls when a deviation grows; context (evidence, age, kind, memory, ...) may push either way.
"""

import os

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import io
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

import generate_series
import model_file

ROOT = Path(__file__).resolve().parent.parent
VERSION = "1"
SEED = 20_261_122
HIDDEN = (24, 12)
EACH = 40
STEPS = 400
THIN = 5  # of normal windows every fifth is learnt from: neighbours are alike
SKIP = 30  # windows at a series' start that nothing is learnt from
CONTEXT = ("memory", "season_known", "evidence", "missing", "age", "is_count", "is_share", "is_log_mean", "is_level")
# Rows 4, 12, 20, ... of the judged set are the check rows, after a few made by hand.
CHECK_ROWS = 64


def feature_rows(part, seed, each, program):
    """Features, labels, the rule's scores and series of the generated series."""
    text = io.StringIO()
    generate_series.write(text, seed, generate_series.SEEN if part == "seen" else generate_series.UNSEEN, each)
    command = [program] if program else ["cargo", "run", "--quiet", "--release", "-p", "geophone-engine", "--example", "features_csv"]
    made = subprocess.run(command, input=text.getvalue().encode(), stdout=subprocess.PIPE, check=True, cwd=ROOT).stdout
    table = pl.read_csv(io.BytesIO(made), schema_overrides={"series_id": pl.String}, infer_schema_length=None)
    names = table.columns[2:-2]
    table = table.filter((pl.col("timestamp") >= SKIP * generate_series.WINDOW_S) & (pl.col("label") >= 0))
    x = table.select(pl.col(names).cast(pl.Float32)).to_numpy().astype(np.float64)
    rule = np.nan_to_num(table["raw"].cast(pl.Float64, strict=False).to_numpy())
    return names, x, table["label"].to_numpy().astype(np.float64), rule, table["series_id"].to_list()


def importance(y, series):
    """Row weights: each family counts alike, and in each anomalies make a quarter."""
    family = np.array([name.rsplit("-", 1)[0] for name in series])
    weight = np.zeros(len(y))
    for name in np.unique(family):
        for label, share in ((0, 0.75), (1, 0.25)):
            rows = (family == name) & (y == label)
            weight[rows] = share / max(rows.sum(), 1)
    return weight / weight.sum()


def train(names, x, y, weight):
    """Weighted logistic loss with a little decay; returns the layers."""
    rng = np.random.Generator(np.random.PCG64(SEED))
    sizes = (x.shape[1], *HIDDEN, 1)
    layers = [[np.abs(rng.normal(0, 0.7 / np.sqrt(fan_in), (fan_in, fan_out))), np.full(fan_out, -0.3)] for fan_in, fan_out in zip(sizes, sizes[1:])]
    free = np.array([name in CONTEXT for name in names])
    layers[0][0][free] = rng.normal(0, 0.1, (free.sum(), HIDDEN[0]))
    moments = [[[np.zeros_like(part), np.zeros_like(part)] for part in layer] for layer in layers]
    x = model_file.squash(x)
    for step in range(1, STEPS + 1):
        inputs, hidden = [], x
        for place, (w, b) in enumerate(layers):
            inputs.append(hidden)
            hidden = hidden @ w + b
            if place < 2:
                hidden = np.maximum(hidden, 0)
        logit = hidden[:, 0]
        back = (weight * (1 / (1 + np.exp(-np.clip(logit, -40, 40))) - y))[:, None]
        rate = 0.02 * 0.5 * (1 + np.cos(np.pi * step / STEPS)) + 1e-4
        for place in (2, 1, 0):
            w, b = layers[place]
            slopes = [inputs[place].T @ back + 1e-5 * w, back.sum(0)]
            if place:
                back = (back @ w.T) * (inputs[place] > 0)
            for at, slope in enumerate(slopes):
                first, second = moments[place][at]
                first += 0.1 * (slope - first)
                second += 0.005 * (slope * slope - second)
                layers[place][at] = layers[place][at] - rate * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.995**step)) + 1e-9)
            # Never negative from deviations on.
            layers[place][0] = np.where(free[:, None], layers[0][0], np.maximum(layers[0][0], 0)) if place == 0 else np.maximum(layers[place][0], 0)
        if step % 100 == 0:
            loss = -(weight * (y * -np.logaddexp(0, -logit) + (1 - y) * -np.logaddexp(0, logit))).sum()
            print(f"step {step}: loss {loss:.4f}", file=sys.stderr)
    return [tuple(layer) for layer in layers]


def average_precision(y, score, weight):
    """Area under precision over recall, rows weighted."""
    order = np.argsort(-score, kind="stable")
    hit, all_ = np.cumsum((weight * y)[order]), np.cumsum(weight[order])
    step = np.diff(np.concatenate([[0], hit])) / max(hit[-1], 1e-12)
    return float((step * hit / all_).sum())


def caught(y, score, weight, false_share=0.001):
    """Share of anomalous windows above the level that this share of normal windows exceeds."""
    normal = np.argsort(-score[y == 0], kind="stable")
    level = score[y == 0][normal][np.searchsorted(np.cumsum(weight[y == 0][normal]), false_share * weight[y == 0].sum())]
    return float((weight * y)[score > level].sum() / (weight * y).sum())


def report(title, names, x, y, series, rule, layers):
    """Prints model and rules side by side."""
    z = np.abs(x[:, [names.index(name) for name in ("z_1", "z_6", "z_18")]]).max(1)
    model = model_file.forward(x, layers)
    family = np.array([name.rsplit("-", 1)[0] for name in series])
    weight = importance(y, series)
    print(f"\n{title}: average precision (share of anomalous windows caught at 1 false in 1000)")
    print(f"{'family':18} {'model':>13} {'two largest':>13} {'max |z|':>13}")
    for name in [*np.unique(family), "all"]:
        rows = family == name if name != "all" else np.ones(len(y), bool)
        cells = [f"{average_precision(y[rows], s[rows], weight[rows]):.3f} ({caught(y[rows], s[rows], weight[rows]):.3f})" for s in (model, rule, z)]
        print(f"{name:18} " + " ".join(f"{cell:>13}" for cell in cells))


def check_rows(x):
    """Rows that prove a runtime: zero, the bounds, and rows as they come."""
    width = x.shape[1]
    hand = np.stack([np.zeros(width), np.full(width, 20.0), np.full(width, -20.0), np.linspace(-20, 20, width)])
    return np.concatenate([hand, x[4 :: len(x) // CHECK_ROWS][: CHECK_ROWS - 4]]).astype(np.float32)


def build(folder, program):
    names, x, y, rule, series = feature_rows("seen", SEED, EACH, program)
    learnt = (y == 1) | (np.arange(len(y)) % THIN == 0)
    weight = importance(y[learnt], [name for name, kept in zip(series, learnt) if kept])
    layers = model_file.round_weights(train(names, x[learnt], y[learnt], weight))
    report("seen families, rows trained on", names, x, y, series, rule, layers)
    _, x_new, y_new, rule_new, series_new = feature_rows("unseen", SEED + 1, EACH // 2, program)
    report("unseen families", names, x_new, y_new, series_new, rule_new, layers)
    model_file.write(
        folder,
        "default",
        VERSION,
        model_file.schema_id(names),
        names,
        layers,
        check_rows(x_new),
        description="small perceptron over the deviations of one series; never falls when a deviation grows",
        licence="MIT OR Apache-2.0",
        trained_on=f"generated series with anomalies put in (notebooks/generate_series.py, seed {SEED}, {EACH} series of each of {len(generate_series.SEEN)} families)",
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check", action="store_true", help="train again and compare with the files in the repository")
    arguments.add_argument("--features-program", help="built example features_csv (default: cargo runs it)")
    arguments = arguments.parse_args()
    shipped = ROOT / "models" / "zoo" / "default" / VERSION
    if not arguments.check:
        build(shipped, arguments.features_program)
        return
    with tempfile.TemporaryDirectory() as folder:
        build(folder, arguments.features_program)
        differing = [name for name in ("model.onnx", "card.toml") if (Path(folder) / name).read_bytes() != (shipped / name).read_bytes()]
        rows = [pl.read_parquet(Path(place) / "check.parquet") for place in (folder, shipped)]
        if rows[0].columns != rows[1].columns or not np.allclose(rows[0].to_numpy(), rows[1].to_numpy(), atol=1e-4):
            differing.append("check.parquet")
    if differing:
        sys.exit(f"training gives another {', '.join(differing)} than the repository holds")
    print("training reproduces the files of the repository")


if __name__ == "__main__":
    main()
