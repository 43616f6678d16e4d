#!/bin/bash
# psi.sh - private set intersection of two generated id lists, half of them shared, between two sites on loopback: CSV in,
# Reader, Intersection, CSV out at both. One JSON line a figure.
# usage: bench/psi.sh [--rows 1000000] [--runs 3] [--json]      NORN=build/norn
set -euo pipefail
cd "$(dirname "$0")/.."
rows=1000000 runs=3
while [ $# -gt 0 ]; do
    case $1 in
    --rows) rows=$2; shift 2 ;;
    --runs) runs=$2; shift 2 ;;
    --json) shift ;;
    *) echo "usage: bench/psi.sh [--rows N] [--runs N] [--json]" >&2; exit 2 ;;
    esac
done
. bench/sites.sh
"$norn" generate --out "$dir" --rows "$rows" --ids-only --overlap 0.5 >/dev/null
cat >"$dir/dsl.json" <<'J'
{"components":{"reader_0":{"module":"Reader","output":{"data":["data"]}},
 "intersection_0":{"module":"Intersection","input":{"data":{"data":["reader_0.data"]}},"output":{"data":["data"]}}}}
J
cat >"$dir/conf.json" <<'J'
{"dsl_version":2,"initiator":{"role":"guest","party_id":9999},"role":{"guest":[9999],"host":[10000]},
 "component_parameters":{"common":{"intersection_0":{"intersect_method":"ecdh"}},
 "role":{"guest":{"0":{"reader_0":{"table":{"namespace":"bench","name":"ids"}}}},"host":{"0":{"reader_0":{"table":{"namespace":"bench","name":"ids"}}}}}}}
J
# What the join of the two files gives, in the clear.
sort "$dir/guest.csv" >"$dir/a" && sort "$dir/host.csv" >"$dir/b"
want=$(($(comm -12 "$dir/a" "$dir/b" | wc -l) - 1)) # less the header
sites_start
whole=() psi=()
for _ in $(seq "$runs"); do
    t=$(date +%s%N)
    upload guest "$dir/guest.csv" bench/ids --replace & upload host "$dir/host.csv" bench/ids --replace; wait
    run_job "$dir/dsl.json" "$dir/conf.json"
    job=$(job_field job)
    "$norn" job output --site "$dir/guest" "$job" intersection_0 --out "$dir/guest_out.csv" >/dev/null &
    "$norn" job output --site "$dir/host" "$job" intersection_0 --out "$dir/host_out.csv" >/dev/null
    wait
    whole+=("$((($(date +%s%N) - t) / 1000000))e-3")
    psi+=("$(task_seconds intersection_0)")
    cmp <(cut -d, -f1 "$dir/guest_out.csv" | sort) <(cut -d, -f1 "$dir/host_out.csv" | sort)
    got=$(($(wc -l <"$dir/guest_out.csv") - 1))
    [ "$got" = "$want" ] || { echo "psi: $got common ids, the join has $want" >&2; exit 1; }
done
figure psi csv_to_csv "$(median "${whole[@]}")" s "" 0
figure psi intersection "$(median "${psi[@]}")" s "" 0
figure psi bytes_guest_host "$(task_bytes intersection_0 guest)" B "" 0
figure psi bytes_host_guest "$(task_bytes intersection_0 host)" B "" 0
figure psi common_ids "$got" ids join "$want"
