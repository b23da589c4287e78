#!/bin/sh
# Executes every notebook from top to bottom, headless; outputs go to a temporary folder.
set -eu
cd "$(dirname "$0")"
python build_notebooks.py --check
for notebook in *.ipynb; do
    MPLBACKEND=Agg jupyter nbconvert --to notebook --execute --output-dir "$(mktemp -d)" "$notebook"
done
