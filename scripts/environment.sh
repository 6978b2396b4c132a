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
    if ! "$base" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        echo "gostpy needs Python 3.11 or newer; name one with PYTHON=/path/to/python3" >&2
        exit 1
    fi
    echo "setting up a virtual environment in .venv (once) ..." >&2
    [ -x "$python" ] || "$base" -m venv "$venv" || {
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
}
