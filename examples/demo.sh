#!/bin/bash
# Two organisations, two sites on this machine, one model: from certificates to scores of new people. ./dev demo runs it.
# usage: demo.sh [--json] [--keep]   --keep leaves the sites running in ./demo
# Needs NORN (the binary) and POOLED (tools/pooled, which trains the same trees on the joined files, to compare).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)/breast
json=0 keep=0
for a in "$@"; do
    case $a in
    --json) json=1 ;;
    --keep) keep=1 ;;
    *) echo "usage: demo.sh [--json] [--keep]" >&2; exit 2 ;;
    esac
done
dir=${DEMO:-demo}
say() { [ $json = 1 ] || echo "$@"; }
run() { # shows a command and runs it
    say "\$ norn $*"
    "$NORN" "$@" >"$dir/out" 2>&1 || { cat "$dir/out" >&2; exit 1; }
}
port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
stop() { for s in bank clinic; do [ ! -d "$dir/$s" ] || "$NORN" site stop "$dir/$s" >/dev/null 2>&1 || true; done; }
[ ! -d "$dir" ] || stop
rm -rf "$dir"
mkdir -p "$dir"
trap '[ $keep = 1 ] || stop' EXIT

say "== A federation of two: a CA, and a site for each organisation"
bank_port=$(port) clinic_port=$(port)
run ca init "$dir/ca" --name demo
run site init "$dir/bank" --party 9999 --listen "127.0.0.1:$bank_port" --http 127.0.0.1:0 --peer "10000=127.0.0.1:$clinic_port" --ca "$dir/ca"
run site init "$dir/clinic" --party 10000 --listen "127.0.0.1:$clinic_port" --http 127.0.0.1:0 --peer "9999=127.0.0.1:$bank_port" --ca "$dir/ca"
run site run "$dir/bank"
run site run "$dir/clinic"

say "== Each uploads its own table; the label y is the bank's"
run upload --site "$dir/bank" "$here/bank.csv" --table breast/bank
run upload --site "$dir/clinic" "$here/clinic.csv" --table breast/clinic
run upload --site "$dir/bank" "$here/bank_new.csv" --table breast/bank_new
run upload --site "$dir/clinic" "$here/clinic_new.csv" --table breast/clinic_new

say "== Train together"
run job submit --site "$dir/bank" --dsl "$here/train_dsl.json" --conf "$here/train_conf.json" --wait --json
cp "$dir/out" "$dir/job.json"
job=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["job"])' "$dir/job.json")
for c in intersection_0 hetero_secure_boost_0 evaluation_0; do
    run job summary --site "$dir/bank" "$job" "$c" --json
    cp "$dir/out" "$dir/$c.json"
done

say "== Score new people with the trained model; each site keeps its half"
run predict --site "$dir/bank" --version "$job" --table breast/bank_new --host-table 10000=breast/clinic_new --out "$dir/scores.csv"

"$POOLED" --trees 20 --depth 3 "$here/bank.csv" --new "$here/bank_new.csv" >"$dir/alone.json"
"$POOLED" --trees 20 --depth 3 "$here/bank.csv" "$here/clinic.csv" --new "$here/bank_new.csv" "$here/clinic_new.csv" >"$dir/pooled.json"
"$POOLED" --auc "$dir/scores.csv" >"$dir/federated.json"
python3 "$here/../demo_report.py" "$dir" $json
[ $keep = 0 ] || echo "The sites run on. Look around: norn job list --site $dir/bank; end them: norn site stop $dir/bank, $dir/clinic" >&2
