#!/bin/bash
# csv.sh - a generated CSV file into the store, against DuckDB's CSV to Parquet, alternating, on all cores.
# usage: bench/csv.sh [--size 1G] [--runs 5] [--json]      NORN=build/norn  VENV=build/venv  TMPDIR=/tmp
# Prints one JSON object a line: medians of the runs; "spread" is (largest - smallest) / median.
set -euo pipefail
size=1G runs=5
while [ $# -gt 0 ]; do
    case $1 in
    --size) size=$2; shift 2 ;;
    --runs) runs=$2; shift 2 ;;
    --json) shift ;;
    *) echo "usage: bench/csv.sh [--size 1G] [--runs 5] [--json]" >&2; exit 2 ;;
    esac
done
root=$(cd "$(dirname "$0")/.." && pwd)
norn=$(realpath "${NORN:-$root/build/norn}") venv=${VENV:-$root/build/venv}
bytes=$(numfmt --from=iec "$size")
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import duckdb' 2>/dev/null || "$venv/bin/pip" -q install duckdb >&2
dir=$(mktemp -d "${TMPDIR:-/tmp}/norn-bench-csv-XXXXXX")
trap 'rm -rf "$dir"' EXIT
# 30 columns, an id and a label: 274 bytes a row
"$norn" generate --out "$dir" --rows $((bytes / 274 + 1)) --guest-columns 30 --host-columns 1 --missing 0.02 >&2
mkdir "$dir/site" && echo 'party = 9999' >"$dir/site/norn.conf"
exec 3>&1
"$venv/bin/python" "$root/bench/csv_peer.py" "$norn" "$dir" "$runs" >&3
