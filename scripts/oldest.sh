#!/usr/bin/env bash
# Make the virtual environment .venv-oldest with the lowest versions that pyproject.toml allows, unless that is up to date.
# Usage: scripts/oldest.sh
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=.venv-oldest/.installed
state=$(cat pyproject.toml constraints.txt scripts/oldest.py | cksum)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$state" ] && exit 0

python=""
for name in python3.11 python3 python3.12; do
    # Old versions have no wheels for a Python that is newer than they are.
    if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))'; then
        python=$name
        break
    fi
done
if [ -z "$python" ]; then
    echo "Python 3.11 or 3.12 is needed for the oldest versions: install it, then run this again." >&2
    exit 1
fi
echo "Installing the oldest versions into .venv-oldest; this takes some minutes."
rm -rf .venv-oldest
"$python" -m venv .venv-oldest
"$python" scripts/oldest.py all test >.venv-oldest/lowest.txt
.venv-oldest/bin/python -m pip install --quiet --disable-pip-version-check \
    -c constraints.txt -c .venv-oldest/lowest.txt -e ".[all,test]"
echo "$state" >"$stamp"
