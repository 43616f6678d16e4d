#!/bin/bash
# The main job in a star: guest and host accept nobody and dial an exchange, which forwards what it cannot read. The exchange is
# killed in the middle of a job; a party that is not there is named. TAP.
# usage: exchange.sh NORN POOLED
set -u
[ -x "$1" ] && [ -x "$2" ] || { echo "usage: exchange.sh NORN POOLED"; exit 2; }
NORN=$(realpath "$1") pooled=$(realpath "$2")
cd "$(dirname "$0")/../.." || exit 2
. bench/sites.sh
n=0 bad=0
say() { n=$((n + 1)); if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; bad=$((bad + 1)); sed 's/^/# /' "$dir/out" | tail -20; fi; }
check() { local what=$1; shift; "$@" >"$dir/out" 2>&1; say $? "$what"; }
value() { python3 -c 'import json, sys; v = json.load(open(sys.argv[1]))
for k in sys.argv[2].split("."): v = v[int(k) if isinstance(v, list) else k]
print(v)' "$1" "$2"; }
same() { python3 -c 'import sys; a, b = map(float, sys.argv[1:3]); print(a, b); sys.exit(abs(a - b) > float(sys.argv[3]))' "$@"; }
until_status() { # SITE PATTERN SECONDS
    for _ in $(seq $(($3 * 20))); do
        "$norn" site status "$dir/$1" >"$dir/out" 2>&1
        grep -q "$2" "$dir/out" && return 0
        sleep 0.05
    done
    cat "$dir/out"
    return 1
}
run_exchange() { "$norn" site run "$dir/exchange" --set exchange_memory=64MiB; }
up='party 10000 .* up .* via 10001'

star() {
    local x h
    x=$(sites_free_port)
    "$norn" ca init "$dir/ca" --name bench &&
        "$norn" site init "$dir/exchange" --party 10001 --listen "127.0.0.1:$x" --peer 9999 --peer 10000 --http none --ca "$dir/ca" &&
        "$norn" site init "$dir/guest" --party 9999 --listen none --peer "10001=127.0.0.1:$x" --peer "10000=via 10001" --http none --ca "$dir/ca" &&
        "$norn" site init "$dir/host" --party 10000 --listen none --peer "10001=127.0.0.1:$x" --peer "9999=via 10001" --http none --ca "$dir/ca" || return 1
    for h in guest host; do "$norn" site run "$dir/$h" || return 1; done
    run_exchange
}
check "three sites start" star
check "guest and host find each other through the exchange" until_status guest "$up" 10
check "doctor says so" "$norn" doctor --site "$dir/guest"

breast=examples/breast
check "the guest's table" upload guest $breast/bank.csv breast/bank
check "the host's table" upload host $breast/clinic.csv breast/clinic
check "the job" run_job $breast/train_dsl.json $breast/train_conf.json
job=$(job_field job)
check "scores of the training rows" "$norn" job output --site "$dir/guest" "$job" hetero_secure_boost_0 --out "$dir/train.csv"
"$pooled" --trees 20 --depth 3 $breast/bank.csv $breast/clinic.csv --new $breast/bank_new.csv $breast/clinic_new.csv >"$dir/pooled.json"
"$pooled" --auc "$dir/train.csv" >"$dir/train.json"
check "AUC of training rows is the pooled one" same "$(value "$dir/train.json" auc)" "$(value "$dir/pooled.json" auc_train)" 1e-9

"$norn" site status "$dir/exchange" --json >"$dir/x.json" 2>"$dir/out"
forwarded=$(python3 -c 'import json, sys; print(min(l["bytes_in"] for l in json.load(open(sys.argv[1]))["links"]))' "$dir/x.json")
check "it has gone through the exchange" test "$forwarded" -gt 100000
"$norn" job list --site "$dir/exchange" >"$dir/jobs" 2>&1
! grep -q "$job" "$dir/jobs" && ! grep -rq "$job" "$dir/exchange/logs"
say $? "which knows nothing of the job"

# ---- the exchange dies in the middle ----
python3 - $breast/train_conf.json "$dir/conf.json" <<'P'
import json, sys
c = json.load(open(sys.argv[1]))
c["component_parameters"]["common"]["hetero_secure_boost_0"]["num_trees"] = 60
json.dump(c, open(sys.argv[2], "w"))
P
"$pooled" --trees 60 --depth 3 $breast/bank.csv $breast/clinic.csv --new $breast/bank_new.csv $breast/clinic_new.csv >"$dir/pooled.json"
"$norn" job submit --site "$dir/guest" --dsl $breast/train_dsl.json --conf "$dir/conf.json" --wait --json >"$dir/job.json" 2>"$dir/err" &
waiter=$!
sleep 1
kill -9 "$(value "$dir/x.json" pid)"
check "the guest names what is cut" until_status guest 'party 10000 .* DOWN .* via 10001 .*exchange 10001' 10
check "the job waits" kill -0 $waiter
check "the exchange starts again" run_exchange
wait $waiter
say $? "the job goes on by itself"
job=$(job_field job)
check "its scores" "$norn" job output --site "$dir/guest" "$job" hetero_secure_boost_0 --out "$dir/again.csv"
"$pooled" --auc "$dir/again.csv" >"$dir/again.json"
check "are the pooled ones, too" same "$(value "$dir/again.json" auc)" "$(value "$dir/pooled.json" auc_train)" 1e-9

# ---- who is not there ----
check "the host stops" "$norn" site stop "$dir/host"
check "the guest is told who has no link to whom" until_status guest 'exchange 10001 has no link to party 10000' 10
echo "1..$n"
[ $bad = 0 ]
