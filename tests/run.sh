#!/bin/sh
# Makes a virtual environment, installs, and runs every check and test. Needs Python 3.11 or later, and nothing else.
set -eu
cd "$(dirname "$0")/.."

venv=${SDFKIT_TEST_VENV:-.venv/test}
"${PYTHON:-python3}" -m venv --clear "$venv"
. "$venv/bin/activate"
export PIP_DISABLE_PIP_VERSION_CHECK=1 OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1

echo "== a plain install, as users have it: the program starts, and meshes need no torch"
pip install --quiet --constraint constraints.txt .
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(
    cd "$work"
    # A torch that cannot be imported stands before the real one.
    mkdir no_torch && echo 'raise ImportError("this pipe must not need torch")' >no_torch/torch.py
    export PYTHONPATH="$work/no_torch"
    sdfkit --version
    sdfkit --help >help.txt
    sdfkit shapes --count 2 --resolution 48 --messy | sdfkit watertight --resolution 48 |
        sdfkit sample-sdf --points 2000 | sdfkit info
)

echo "== checks"
pip install --quiet --constraint constraints.txt --editable '.[test,offline,text]'
ruff check .
ruff format --check .
mypy
lint-imports
python man/generate.py --check

echo "== tests"
python -m pytest --quiet -rs "$@"
