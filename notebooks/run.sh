#!/bin/sh
# Executes every notebook from top to bottom, headless; outputs go to a temporary folder. $PYTHON is the Python to
# use. GEOPHONE_QUICK takes few rows; GEOPHONE_BIN, GEOPHONE_FEATURES_CSV, GEOPHONE_DATA and GEOPHONE_DATASETS say where things are.
set -eu
cd "$(dirname "$0")"
python="${PYTHON:-python3}"
"$python" build_notebooks.py --check
for notebook in *.ipynb; do
    MPLBACKEND=Agg "$python" -m nbconvert --to notebook --execute --output-dir "$(mktemp -d)" "$notebook"
done
