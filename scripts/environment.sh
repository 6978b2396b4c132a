# Sourced by the other scripts: makes a virtual environment beside the checkout once, and again only
# when setup.py changed. Usage: environment EXTRA, then "$python" is its interpreter.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

environment() {
    local extra=$1 venv="$root/.venv" stamp want base
    base=${PYTHON:-python3}
    stamp="$venv/.made-for-$extra"
    python="$venv/bin/python"
    want=$(cksum < "$root/setup.py")
    if [ -x "$python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then
        return
    fi
    # two scripts that start together make it one after the other
    exec 9> "$root/.venv.lock"
    if command -v flock > /dev/null; then
        flock 9
    fi
    if [ -x "$python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$want" ]; then
        exec 9>&-
        return
    fi
    if ! "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "gostpy needs Python 3.11 or newer; name one with PYTHON=/path/to/python3" >&2
        exit 1
    fi
    echo "setting up a virtual environment in .venv (once) ..." >&2
    # one without pip is left over from a run that was interrupted
    "$python" -m pip --version > /dev/null 2>&1 || "$base" -m venv --clear "$venv" || {
        echo "could not make a virtual environment; on Debian: apt install python3-venv" >&2
        exit 1
    }
    local target=$root
    [ -n "$extra" ] && target="$root[$extra]"
    # on success quiet; on failure all that pip said
    local log
    log=$("$python" -m pip install --disable-pip-version-check --editable "$target" 2>&1) || {
        echo "$log" >&2
        exit 1
    }
    echo "$want" > "$stamp"
    exec 9>&-
}
