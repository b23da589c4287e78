#!/bin/sh
# Executes every notebook from top to bottom, headless; with its figures each goes to the folder $1 (else a temporary
# one). $PYTHON is the Python to use. GEOPHONE_QUICK takes few rows; GEOPHONE_BIN, GEOPHONE_FEATURES_CSV, GEOPHONE_DATA
# and GEOPHONE_DATASETS say where things are.
set -eu
out="${1:-$(mktemp -d)}"
cd "$(dirname "$0")"
python="${PYTHON:-python3}"
unset MPLBACKEND # another backend than the notebook's own would leave the figures out
"$python" build_notebooks.py --check
for notebook in *.ipynb; do
    "$python" -m nbconvert --to notebook --execute --output-dir "$out" "$notebook"
done
echo "executed notebooks: $out"
