#!/usr/bin/env bash
# Run a command with a virtual screen, so that no window appears; where there is no Xvfb, on the real screen.
# Usage: scripts/with-display.sh COMMAND...
set -euo pipefail
cd "$(dirname "$0")/.."
packages=(xvfb xauth libegl1 libgl1 libgl1-mesa-dri libopengl0 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4
    libxcb-image0 libxcb-keysyms1 libxcb-randr0 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0 libxcb-xfixes0
    libdbus-1-3)
if command -v apt-get >/dev/null; then
    scripts/install-packages.sh "${packages[@]}"
elif ! command -v xvfb-run >/dev/null; then
    scripts/install-packages.sh "${packages[@]}" || true
    if [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ] && [ "$(uname)" = Linux ]; then
        exit 1
    fi
    echo "Going on with this machine's own screen: windows will appear." >&2
    exec "$@"
fi
# Qt wants a runtime folder of its own, which containers lack.
if [ -z "${XDG_RUNTIME_DIR:-}" ] || [ ! -w "$XDG_RUNTIME_DIR" ]; then
    mkdir -p -m 700 .runtime
    export XDG_RUNTIME_DIR="$PWD/.runtime"
fi
exec xvfb-run --auto-servernum --server-args="-screen 0 1600x1200x24" "$@"
