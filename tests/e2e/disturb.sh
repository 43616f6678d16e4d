#!/bin/bash
# Jobs of all kinds under a seeded schedule of faults; see disturb.py. TAP.
# usage: disturb.sh NORN [JOBS [SEED]]
[ -x "$1" ] || { echo "usage: disturb.sh NORN [JOBS [SEED]]"; exit 2; }
exec python3 "$(dirname "$0")/disturb.py" "$(realpath "$1")" --jobs "${2:-50}" --seed "${3:-1}"
