# shellcheck shell=sh disable=SC2034,SC2154  # the variables are shared with the scripts that source this file
# The common start of the example scripts. A script sets two variables, then sources this file:
#   work     the default working folder, used if no FOLDER is given
#   options  which of --size, --furniture and --curve the script accepts
# Afterwards `root` is the project's folder, `size` is tiny or small, and the current folder is the working folder, with
# sdfkit installed into a virtual environment there.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
size=small furniture='' curve=''
refuse() { echo "${0##*/}: $1" >&2 && exit 2; }
while [ $# -gt 0 ]; do
    case $1 in
    -*) case " $options " in *" $1 "*) ;; *) refuse "there is no option $1" ;; esac ;;
    esac
    case $1 in
    --size) size=${2:-nothing} && shift $(($# > 1)) ;;
    --furniture) furniture=yes ;;
    --curve) curve=yes ;;
    *) work=$1 ;;
    esac
    shift
done
case $size in
tiny | small) ;;
*) refuse "--size must be tiny or small, not $size" ;;
esac
# pip compiles nothing below; where modules cannot be kept compiled, every command would compile torch again.
unset PYTHONDONTWRITEBYTECODE
mkdir -p "$work"
cd "$work"

[ -x .venv/bin/sdfkit ] || {
    echo "installing into $PWD/.venv"
    "${PYTHON:-python3}" -m venv --clear .venv
    # -qq: print errors only.
    .venv/bin/pip install -qq --no-compile --constraint "$root/constraints.txt" "${root}[offline]"
}
# Run again, a script continues where it stopped: a command whose output is complete has nothing to do.
PATH="$PWD/.venv/bin:$PATH"
