# shellcheck shell=sh disable=SC2034,SC2154  # what it sets and reads is the scripts'
# What every example begins with, for it to source; that says first:
#   work     where to work, unless a FOLDER is named
#   options  which of --size and --furniture it has
# Then `root` is the project, `size` is tiny or small, and the work is in its folder, with an sdfkit that is installed
# there.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
size=small furniture=''
refuse() { echo "${0##*/}: $1" >&2 && exit 2; }
while [ $# -gt 0 ]; do
    case $1 in
    -*) case " $options " in *" $1 "*) ;; *) refuse "no option $1" ;; esac ;;
    esac
    case $1 in
    --size) size=${2:-nothing} && shift $(($# > 1)) ;;
    --furniture) furniture=yes ;;
    *) work=$1 ;;
    esac
    shift
done
case $size in
tiny | small) ;;
*) refuse "--size is tiny or small, not $size" ;;
esac
mkdir -p "$work"
cd "$work"

[ -x .venv/bin/sdfkit ] || {
    echo "installing into $PWD/.venv"
    "${PYTHON:-python3}" -m venv --clear .venv
    # -qq: errors only.
    .venv/bin/pip install -qq --no-compile --constraint "$root/constraints.txt" "${root}[offline]"
}
PATH="$PWD/.venv/bin:$PATH"

# Every step leaves what it made: the same command again goes on where it stopped.
whole() { [ -d "$1" ] && sdfkit info "$1" | grep -q ", complete"; }
