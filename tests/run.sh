#!/bin/sh
# Makes a virtual environment, installs, and runs every check and test. Needs Python 3.11 or later, and nothing else.
#   sh tests/run.sh [--quick | --install] [PYTEST OPTION ...]
# --quick leaves out the check of types, and the tests that take more than a second or two. --install only installs.
set -eu
cd "$(dirname "$0")/.."

quick='' install=''
case "${1:-}" in
    --quick) quick=yes && shift ;;
    --install) install=yes && shift ;;
esac

venv=${SDFKIT_TEST_VENV:-.venv/test}
python=${PYTHON:-python3}
export PIP_DISABLE_PIP_VERSION_CHECK=1 HF_HUB_OFFLINE=1 OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# pip compiles nothing (--no-compile); what is imported is compiled once and kept. Without that, each of the programs
# that the tests start would compile torch again, for 4 seconds.
unset PYTHONDONTWRITEBYTECODE

# Not by `activate`: in some releases of Python it reads variables that are not set, which `set -u` refuses.
enter() { PATH="$(cd "$venv/bin" && pwd):$PATH"; }

# An environment that was made of the same requirements, by the same Python, in the same place, is used again.
made_of=$("$python" --version && pwd && cat pyproject.toml constraints.txt)
if [ "$(cat "$venv/made_of" 2>/dev/null || true)" != "$made_of" ]; then
    "$python" -m venv --clear "$venv"
    enter

    echo "== a plain install, as users have it: the program starts, and meshes need no torch"
    # -qq: errors only.
    pip install -qq --no-compile --constraint constraints.txt .
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
    pip install -qq --no-compile --constraint constraints.txt --editable '.[test,offline,text,draco,photos,lvis]'
    echo "$made_of" >"$venv/made_of"
fi
[ -z "$install" ] || exit 0
enter

echo "== checks"
ruff check .
ruff format --check .
[ -n "$quick" ] || mypy
lint-imports
python man/generate.py --check

echo "== tests"
set -- --quiet -rs --numprocesses auto --maxprocesses 4 --dist worksteal "$@"
[ -z "$quick" ] || set -- -m 'not slow' "$@"
python -m pytest "$@"
