#!/usr/bin/env bash
# Install the Debian packages that are missing, as root or with sudo; otherwise name them and how to get them.
# Usage: scripts/install-packages.sh PACKAGE...
set -euo pipefail
if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    echo "This is no Debian machine: install what corresponds to the Debian packages: $*" >&2
    exit 1
fi
missing=()
for package in "$@"; do
    state=$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)
    [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" = 0 ]; then
    become=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    become=(sudo)
else
    echo "Packages are missing. Install them with" >&2
    echo "    sudo apt-get install ${missing[*]}" >&2
    echo "then run this again." >&2
    exit 1
fi
echo "Installing the missing packages: ${missing[*]}"
"${become[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -qq
"${become[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
