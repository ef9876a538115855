#!/usr/bin/env bash
# Make the virtual environment .venv and install the package into it, unless it is up to date.
# Usage: scripts/environment.sh EXTRAS    (for example "all" or "all,test,dev")
set -euo pipefail
cd "$(dirname "$0")/.."
extras=$1
stamp=.venv/.installed-$(echo "$extras" | tr ',' '-')
if [ -f "$stamp" ] && [ "$stamp" -nt pyproject.toml ] && [ "$stamp" -nt constraints.txt ]; then
    exit 0
fi

python=""
for name in python3 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
        python=$name
        break
    fi
done
if [ -z "$python" ]; then
    echo "Python 3.11 or newer is needed and was not found: install it, then run this again." >&2
    exit 1
fi
if [ ! -x .venv/bin/python ]; then
    if ! "$python" -m venv .venv; then
        rm -rf .venv
        echo "Python cannot make virtual environments: on Debian, 'apt-get install python3-venv', then run this again." >&2
        exit 1
    fi
fi
# The torch in constraints.txt stays the one that is installed, whatever other packages would like.
.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[$extras]"
touch "$stamp"
