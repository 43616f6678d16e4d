#!/bin/bash
# The main job between two real sites on loopback: upload, train, evaluate, predict; what is refused; a killed task. TAP.
# usage: main_job.sh NORN POOLED      POOLED is tools/pooled, the same boosting on the joined columns
set -u
[ -x "$1" ] && [ -x "$2" ] || { echo "usage: main_job.sh NORN POOLED"; exit 2; }
NORN=$(realpath "$1") pooled=$(realpath "$2")
cd "$(dirname "$0")/../.." || exit 2
. bench/sites.sh
n=0 bad=0
say() { n=$((n + 1)); if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; bad=$((bad + 1)); sed 's/^/# /' "$dir/out" | tail -20; fi; }
check() { local what=$1; shift; "$@" >"$dir/out" 2>&1; say $? "$what"; }
refuses() { # WHAT CODE TEXT COMMAND...
    local what=$1 code=$2 text=$3; shift 3
    "$@" >"$dir/out" 2>&1; local got=$?
    [ $got = "$code" ] && grep -qF -- "$text" "$dir/out"; local ok=$?
    [ $ok = 0 ] || echo "exit code $got, want $code and: $text" >>"$dir/out"
    say $ok "$what"
}
value() { python3 -c 'import json, sys; v = json.load(open(sys.argv[1]))
for k in sys.argv[2].split("."): v = v[int(k) if isinstance(v, list) else k]
print(v)' "$1" "$2"; }
# edit FROM TO PYTHON: the JSON of FROM as c, changed, to TO
edit() { python3 - "$1" "$2" "$3" <<'P'
import json, sys
c = json.load(open(sys.argv[1]))
exec(sys.argv[3])
json.dump(c, open(sys.argv[2], "w"))
P
}
breast=examples/breast
dsl=$breast/train_dsl.json conf=$breast/train_conf.json
check "two sites start and find each other" sites_start

# ---- what the store does not take ----
csv() { printf "$1" >"$dir/bad.csv"; }
put() { "$norn" upload --site "$dir/guest" "$dir/bad.csv" --table bad/table "$@"; }
csv 'id,y,x0\na,1,2\nb,0\nc,1,4\n'
refuses "a ragged row" 3 "row 2" put
csv 'id,y,x0\na,1,2\nb,0,zwei\n'
refuses "a bad number in a declared column" 3 "column 'x0'" put --type x0:f64
csv 'id,y,x0\na,1,2\n,0,3\n'
refuses "an empty id" 3 "row 2" put
csv 'a,y,x0\na,1,2\n'
refuses "no such id column" 2 "id" put --id id
csv 'id,y,x0\na,1,2\nb,0,3\na,0,4\n'
refuses "the same id twice" 8 "row 3" put
csv 'id,y,x\xff\na,1,2\n'
refuses "wrong encoding" 3 "UTF-8" put
csv ''
refuses "an empty file" 3 "empty" put
csv 'id,y,x0\n'
refuses "a header alone" 3 "row" put
rm "$dir/bad.csv"
refuses "no file" 7 "bad.csv" put
"$norn" table list --site "$dir/guest" --json >"$dir/out" 2>&1; ! grep -q '"bad"' "$dir/out"; say $? "nothing of these is stored"
check "no folder either" test "$(ls "$dir/guest/store/tables" | wc -l)" = 0

# ---- the job ----
check "the guest's table" upload guest $breast/bank.csv breast/bank
check "the host's table" upload host $breast/clinic.csv breast/clinic
check "new people at the guest" upload guest $breast/bank_new.csv breast/bank_new
check "new people at the host" upload host $breast/clinic_new.csv breast/clinic_new
check "the job" run_job $dsl $conf
job=$(job_field job)
check "scores of the training rows" "$norn" job output --site "$dir/guest" "$job" hetero_secure_boost_0 --out "$dir/train.csv"
check "predict" "$norn" predict --site "$dir/guest" --version "$job" --table breast/bank_new --host-table 10000=breast/clinic_new --out "$dir/new.csv"
"$pooled" --trees 20 --depth 3 $breast/bank.csv $breast/clinic.csv --new $breast/bank_new.csv $breast/clinic_new.csv >"$dir/pooled.json"
"$pooled" --auc "$dir/train.csv" >"$dir/train.json"
"$pooled" --auc "$dir/new.csv" >"$dir/new.json"
same() { python3 -c 'import sys; a, b = map(float, sys.argv[1:3]); print(a, b); sys.exit(abs(a - b) > float(sys.argv[3]))' "$@"; }
check "as many common rows as the join has" test "$(value "$dir/train.json" rows)" = "$(value "$dir/pooled.json" rows)"
check "AUC of training rows is the pooled one" same "$(value "$dir/train.json" auc)" "$(value "$dir/pooled.json" auc_train)" 1e-9
check "AUC of new rows is the pooled one" same "$(value "$dir/new.json" auc)" "$(value "$dir/pooled.json" auc_new)" 1e-9
"$norn" job summary --site "$dir/guest" "$job" hetero_secure_boost_0 --json >"$dir/summary.json" 2>"$dir/out"
check "so is the loss after the last tree" same "$(value "$dir/summary.json" loss_history.19)" "$(value "$dir/pooled.json" loss)" 1e-9
"$norn" job metrics --site "$dir/guest" "$job" evaluation_0 --json >"$dir/metrics.json" 2>"$dir/out"
python3 -c 'import json, sys; print(dict(json.load(open(sys.argv[1]))["train"]["hetero_secure_boost_0"]["data"])["auc"])' "$dir/metrics.json" >"$dir/auc" 2>"$dir/out"
check "Evaluation's AUC is that, too" same "$(value "$dir/train.json" auc)" "$(cat "$dir/auc")" 1e-6
for s in guest host; do
    check "the $s keeps its half of the model" "$norn" model show --site "$dir/$s" "$job"
done
! grep -q 'weight":-\?[0-9.]*[1-9]' <("$norn" model show --site "$dir/host" "$job" --json 2>/dev/null); say $? "leaf weights are not in the host's half"

# ---- the same seeds, the same model, for any number of threads and any kernels ----
restart() { sites_stop; sleep 0.2; "$norn" site run "$dir/guest" "$@" >/dev/null && "$norn" site run "$dir/host" "$@" >/dev/null; }
linked() { for _ in $(seq 200); do "$norn" site status "$dir/guest" | grep -q '^  party .* up ' && return 0; sleep 0.05; done; return 1; }
seeded() { # NAME CPU THREADS
    NORN_TEST_SEEDS=1 NORN_TEST_SEED=7 NORN_CPU=$2 restart --set threads="$3" >"$dir/out" 2>&1 && linked && run_job $dsl $conf >"$dir/out" 2>&1 || return 1
    for s in guest host; do # both halves, bit by bit: doubles print with all their digits
        "$norn" model show --site "$dir/$s" "$(job_field job)" hetero_secure_boost_0 --json 2>"$dir/out" |
            python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["parts"], sort_keys=True))' || return 1
    done >"$dir/model.$1"
    "$norn" job output --site "$dir/guest" "$(job_field job)" hetero_secure_boost_0 --out "$dir/scores.$1" >"$dir/out" 2>&1
}
check "seeded, one thread" seeded one portable 1
for v in "two portable 2" "four portable 4" "avx2 avx2 2" "avx512 avx512 2"; do
    set -- $v
    check "seeded: $v" seeded "$@"
    check "the same model" cmp "$dir/model.one" "$dir/model.$1"
    check "the same scores" cmp "$dir/scores.one" "$dir/scores.$1"
done
check "fresh seeds again" restart
check "linked" linked
check "a fresh run" run_job $dsl $conf
check "its scores" "$norn" job output --site "$dir/guest" "$(job_field job)" hetero_secure_boost_0 --out "$dir/scores.fresh"
check "fresh randomness, the same scores" cmp "$dir/scores.one" "$dir/scores.fresh"

# ---- the other scheme ----
edit $conf "$dir/paillier.json" 'b = c["component_parameters"]["common"]["hetero_secure_boost_0"]; b["encrypt_param"] = {"method": "Paillier", "key_length": 2048}; b["num_trees"] = 2'
edit $conf "$dir/lattice2.json" 'c["component_parameters"]["common"]["hetero_secure_boost_0"]["num_trees"] = 2'
check "two trees by Paillier" run_job $dsl "$dir/paillier.json"
check "its scores" "$norn" job output --site "$dir/guest" "$(job_field job)" hetero_secure_boost_0 --out "$dir/scores.paillier"
check "two trees by the lattice" run_job $dsl "$dir/lattice2.json"
check "its scores" "$norn" job output --site "$dir/guest" "$(job_field job)" hetero_secure_boost_0 --out "$dir/scores.lattice"
check "the same" cmp "$dir/scores.paillier" "$dir/scores.lattice"

# ---- what is refused ----
submit() { "$norn" job submit --site "$dir/guest" --dsl "$1" --conf "$2" --wait; }
jobs() { "$norn" job list --site "$dir/guest" --max 0 --json | grep -o '"job":' | wc -l; }
before=$(jobs)
edit $conf "$dir/c.json" 'c["component_parameters"]["common"]["hetero_secure_boost_0"]["encrypt_param"]["method"] = "IterativeAffine"'
refuses "a broken scheme, by name" 14 "IterativeAffine" submit $dsl "$dir/c.json"
edit $conf "$dir/c.json" 'c["component_parameters"]["common"]["hetero_secure_boost_0"]["encrypt_param"]["method"] = "None"'
refuses "no encryption" 14 "None" submit $dsl "$dir/c.json"
edit $conf "$dir/c.json" 'c["component_parameters"]["common"]["hetero_secure_boost_0"]["num_tree"] = 3'
refuses "an unknown parameter" 2 "did you mean num_trees?" submit $dsl "$dir/c.json"
edit $conf "$dir/c.json" 'c["component_parameters"]["common"]["hetero_secure_boost_0"]["tree_param"]["max_depth"] = 99'
refuses "a value out of its bounds" 2 "max_depth is 99" submit $dsl "$dir/c.json"
edit $dsl "$dir/d.json" 'c["components"]["hetero_secure_boost_0"]["module"] = "HeteroSecureBost"'
refuses "an unknown component" 2 "did you mean HeteroSecureBoost?" submit "$dir/d.json" $conf
edit $conf "$dir/c.json" 'c["role"]["host"] = [10007]'
refuses "an unknown party" 2 "10007" submit $dsl "$dir/c.json"
edit $conf "$dir/c.json" 'c["component_parameters"]["common"]["intersection_0"]["intersect_method"] = "raw"'
refuses "ids in the clear" 14 "raw" submit $dsl "$dir/c.json"
check "none of these is a job" test "$(jobs)" = "$before"

table() { # SITE NAME TEXT
    printf "$3" >"$dir/t.csv"; upload "$1" "$dir/t.csv" "edge/$2"
}
with() { edit $conf "$dir/c.json" 'r = c["component_parameters"]["role"]; r["guest"]["0"]["reader_0"]["table"] = {"namespace": "edge", "name": "'"$1"'"}; r["host"]["0"]["reader_0"]["table"] = {"namespace": "edge", "name": "'"$2"'"}'; }
table guest g 'id,y,x0\na,1,2\nb,0,3\nc,1,5\n'
table guest one_class 'id,y,x0\na,1,2\nb,1,3\nc,1,5\n'
table host h 'id,z0\na,1\nb,2\nc,3\n'
table host others 'id,z0\nd,1\ne,2\nf,3\n'
table host bare 'id\na\nb\nc\n'
with g others
refuses "no common ids" 15 "no common ids" submit $dsl "$dir/c.json"
with one_class h
refuses "one class only" 15 "class" submit $dsl "$dir/c.json"
with g bare
refuses "a host without columns" 15 "column" submit $dsl "$dir/c.json"
with g h
check "three rows are enough" submit $dsl "$dir/c.json"

# ---- a task is killed while it trains ----
edit $conf "$dir/c.json" 'b = c["component_parameters"]["common"]["hetero_secure_boost_0"]; b["num_trees"] = 1000'
"$norn" job submit --site "$dir/guest" --dsl $dsl --conf "$dir/c.json" --json >"$dir/job.json" 2>"$dir/out"
job=$(job_field job)
pid_of() { "$norn" job show --site "$dir/host" "$job" --json | python3 -c '
import json, sys
for t in json.load(sys.stdin)["tasks"]:
    if t["component"] == "hetero_secure_boost_0" and t["role"] == "host" and t["status"] == "running" and t["pid"]: print(t["pid"])'; }
trains() { for _ in $(seq 400); do [ -n "$(pid_of)" ] && return 0; sleep 0.02; done; return 1; }
check "a long training runs" trains
check "its task at the host is killed" kill -9 "$(pid_of)"
ended() { for _ in $(seq 250); do "$norn" job show --site "$dir/$1" "$job" --json | grep -q '"status":"failed"' && return 0; sleep 0.02; done; return 1; }
for s in guest host; do
    check "failed at the $s" ended $s
    "$norn" job show --site "$dir/$s" "$job" >"$dir/out" 2>&1; grep -q 'signal 9 (SIGKILL)' "$dir/out"; say $? "the $s says why"
done
check "rerun" "$norn" job rerun --site "$dir/guest" "$job" --wait
for s in guest host; do
    check "no task of norn is left at the $s" test -z "$(pgrep -P "$("$norn" site status "$dir/$s" --json | grep -o '"pid":[0-9]*' | head -1 | cut -d: -f2)" || true)"
done
# ---- nothing of a row in a log ----
! grep -rqE 'P[A-Z0-9]{9}' "$dir"/guest/logs "$dir"/host/logs "$dir"/guest/jobs/*/*/*/task.log "$dir"/host/jobs/*/*/*/task.log; say $? "no id in any log"
echo "1..$n"
echo "# $((n - bad)) passed, $bad failed"
[ $bad = 0 ]
