#!/usr/bin/env bash
# Make the virtual environment .venv and install the package into it, unless that is up to date.
# Usage: scripts/environment.sh EXTRA...    (for example: all test dev)
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=.venv/.installed
state=$(cat pyproject.toml constraints.txt | cksum)

# The stamp holds the state it was made from and the extras that are there.
if [ -f "$stamp" ] && [ "$(sed -n 1p "$stamp")" = "$state" ]; then
    there=" $(sed -n 2p "$stamp") "
    complete=yes
    for extra in "$@"; do
        case "$there" in *" $extra "*) ;; *) complete=no ;; esac
    done
    [ "$complete" = yes ] && exit 0
fi

recent='import sys; sys.exit(sys.version_info < (3, 11))'
if ! .venv/bin/python -c "$recent" 2>/dev/null; then
    python=""
    for name in python3 python3.14 python3.13 python3.12 python3.11; do
        if command -v "$name" >/dev/null && "$name" -c "$recent"; then
            python=$name
            break
        fi
    done
    if [ -z "$python" ]; then
        found=$(python3 --version 2>/dev/null || echo "no python3")
        echo "Python 3.11 or newer is needed, and there is $found: install it, then run this again." >&2
        exit 1
    fi
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
        scripts/install-packages.sh "$version-venv"
    fi
    rm -rf .venv
    "$python" -m venv .venv
fi

echo "Installing into .venv; the first time this takes some minutes."
extras=$(IFS=,; echo "$*")
# With the constraints the torch that is installed stays, whatever other packages would like.
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$extras]"
printf '%s\n%s\n' "$state" "$*" >"$stamp"
