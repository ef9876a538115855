#!/usr/bin/env bash
# All that needs a GPU of NVIDIA, on a machine that may have nothing but torch for it and what pyproject.toml names
# (napari and Qt are not needed): the tests marked cuda, then benchmarks/gpu.py.
#
#     benchmarks/gpu.sh PSFS OUT
#
# PSFS holds psf_ANGLE.tif of four views at 0, 90, 180 and 270 degrees, OUT gets gpu.json and the logs. It ends after eight
# minutes: what the tests take of them is missing from the rest.
set -uo pipefail
psfs=$(realpath "$1") out=$(mkdir -p "$2" && realpath "$2")
cd "$(dirname "$0")/.."
export PYTHONPATH=src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
minutes=8 most_of_tests=180 began=$SECONDS
timeout $most_of_tests python3 -m pytest tests -m cuda --ignore tests/gui -p no:cacheprovider -q 2>&1 | tee "$out/tests.log"
failed=$?
left=$(awk "BEGIN { print $minutes - ($SECONDS - $began) / 60 }")
python3 benchmarks/gpu.py --psfs "$psfs" --minutes "$left" --json "$out/gpu.json" 2>&1 | tee "$out/gpu.log" || failed=1
exit $failed
