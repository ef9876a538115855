#!/usr/bin/env bash
# See to it that Qt and Mesa can draw under Xvfb: install what is missing on Debian, or name it.
set -euo pipefail
packages="xvfb xauth libegl1 libgl1 libgl1-mesa-dri libopengl0 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4
libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libxcb-xfixes0 libdbus-1-3"
if ! command -v dpkg-query >/dev/null; then
    command -v xvfb-run >/dev/null && exit 0
    echo "xvfb-run is missing; the tests need it. On Debian the packages are: " $packages >&2
    exit 1
fi
missing=""
for package in $packages; do
    dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ]; then
    become=""
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    become=sudo
else
    echo "These packages are missing; install them with 'sudo apt-get install$missing', then run this again." >&2
    exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$become apt-get update -qq
$become apt-get install -qq -y --no-install-recommends $missing >/dev/null
