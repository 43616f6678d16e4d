#!/bin/bash
# Interrupted training goes on: tasks, sites, both sites killed at tree 7 of 10, the link cut in PSI, training and prediction. The
# scores and both halves of the model are those of an undisturbed run with the same test seeds. TAP.
# usage: resume.sh NORN        CUT=60: seconds of a cut that is survived (4)
set -u
[ -x "$1" ] || { echo "usage: resume.sh NORN"; exit 2; }
NORN=$(realpath "$1")
cd "$(dirname "$0")/../.." || exit 2
. bench/sites.sh
export NORN_TEST_SEEDS=1 NORN_TEST_SEED=7
cut_s=${CUT:-4}
n=0 bad=0
say() { n=$((n + 1)); if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; bad=$((bad + 1)); sed 's/^/# /' "$dir/out" | tail -20; fi; }
check() { local what=$1; shift; "$@" >"$dir/out" 2>&1; say $? "$what"; }
breast=examples/breast
data=${NORN_SHARED:-../shared}/data
hops=()
trap 'sites_clean; kill "${hops[@]}" 2>/dev/null' EXIT

# ---- two sites, a hop each way ----
g=$(sites_free_port) h=$(sites_free_port) gh=$(sites_free_port) hg=$(sites_free_port)
python3 tests/e2e/hop.py "$gh" "$h" "$dir/cut" & hops+=($!)
python3 tests/e2e/hop.py "$hg" "$g" "$dir/cut" & hops+=($!)
"$norn" ca init "$dir/ca" --name test >/dev/null
"$norn" site init "$dir/guest" --party 9999 --listen "127.0.0.1:$g" --http none --peer "10000=127.0.0.1:$gh" --ca "$dir/ca" >/dev/null
"$norn" site init "$dir/host" --party 10000 --listen "127.0.0.1:$h" --http none --peer "9999=127.0.0.1:$hg" --ca "$dir/ca" >/dev/null
deadline=20s
run_site() { "$norn" site run "$dir/$1" --set task_deadline=$deadline --set heartbeat=500ms; }
linked() { for _ in $(seq 400); do "$norn" site status "$dir/guest" | grep -q '^  party .* up ' && return 0; sleep 0.05; done; return 1; }
check "the guest's site" run_site guest
check "the host's site" run_site host
check "linked" linked

if [ -f "$data/default_credit_hetero_guest.csv" ]; then
    guest_csv=$data/default_credit_hetero_guest.csv host_csv=$data/default_credit_hetero_host.csv
else
    "$norn" generate --out "$dir/data" --rows 30000 --guest-columns 13 --host-columns 10 --overlap 1 >/dev/null
    guest_csv=$dir/data/guest.csv host_csv=$dir/data/host.csv
fi
check "the guest's table" upload guest "$guest_csv" t/guest
check "the host's table" upload host "$host_csv" t/host
conf() { # RETRIES
    cat <<J
{"dsl_version":2,"initiator":{"role":"guest","party_id":9999},"role":{"guest":[9999],"host":[10000]},
 "job_parameters":{"common":{"auto_retries":$1,"auto_retry_delay":0.2}},
 "component_parameters":{"common":{"intersection_0":{"intersect_method":"ecdh"},"evaluation_0":{"eval_type":"binary"},
 "hetero_secure_boost_0":{"num_trees":10,"tree_param":{"max_depth":5},"validation_freqs":2}},
 "role":{"guest":{"0":{"reader_0":{"table":{"namespace":"t","name":"guest"}},"data_transform_0":{"with_label":true}}},
  "host":{"0":{"reader_0":{"table":{"namespace":"t","name":"host"}},"data_transform_0":{"with_label":false}}}}}}
J
}
conf 5 >"$dir/retry.json"; conf 0 >"$dir/plain.json"
boost=hetero_secure_boost_0
results() { # NAME: scores and both halves of the model of $job
    "$norn" job output --site "$dir/guest" "$job" $boost --out "$dir/scores.$1" >/dev/null || return 1
    "$norn" job metrics --site "$dir/guest" "$job" $boost --json >"$dir/metrics.$1" || return 1
    for s in guest host; do
        "$norn" model show --site "$dir/$s" "$job" $boost --json |
            python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["parts"], sort_keys=True))' || return 1
    done >"$dir/model.$1"
}
same() { results "$1" && cmp "$dir/scores.want" "$dir/scores.$1" && cmp "$dir/model.want" "$dir/model.$1" && cmp "$dir/metrics.want" "$dir/metrics.$1"; }
submit() { "$norn" job submit --site "$dir/guest" --dsl $breast/train_dsl.json --conf "$dir/$1.json" --json >"$dir/job.json" && job=$(job_field job); }
log_of() { echo "$dir/$1/jobs/$job/$1_$([ "$1" = guest ] && echo 9999 || echo 10000)/$2/task.log"; }
at_tree() { for _ in $(seq 6000); do grep -q "\"event\":\"round done\".*\"round\":$(($1 - 1))" "$(log_of guest $boost)" 2>/dev/null && return 0; sleep 0.01; done; return 1; }
state() { "$norn" job show --site "$dir/${1:-guest}" "$job" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["status"])'; }
ends() { # STATUS [SECONDS]
    for _ in $(seq $((10 * ${2:-60}))); do
        case $(state) in success | failed | canceled | timeout) break ;; esac
        sleep 0.1
    done
    [ "$(state)" = "$1" ] && return 0
    "$norn" job show --site "$dir/guest" "$job"; "$norn" job why --site "$dir/guest" "$job"; return 1
}
pid_of() { "$norn" job show --site "$dir/$1" "$job" --json | python3 -c '
import json, sys
for t in json.load(sys.stdin)["tasks"]:
    if t["component"] == sys.argv[1] and t["role"] == sys.argv[2] and t["pid"] and t["status"] == "running": print(t["pid"])' $boost "$1"; }
site_pid() { cat "$dir/$1/run/lock"; }
went_on() { # trees that the last attempt went on from, at the guest
    grep -o '"event":"goes on from the last round[^}]*"trees":[0-9]*' "$(log_of guest $boost)" | tail -1 | grep -o '[0-9]*$'; }
from_tree() { local t; t=$(went_on); echo "went on from tree ${t:-none}"; [ "${t:-0}" -ge "$1" ]; }

check "an undisturbed run" run_job $breast/train_dsl.json "$dir/retry.json"
job=$(job_field job)
check "its results" results want
check "no checkpoint is left of it" test -z "$(find "$dir"/*/jobs -name checkpoint)"

# ---- killed at tree 7 ----
kill_now() {
    case $1 in
    task) kill -9 "$(pid_of "$2")" ;;
    site) kill -9 "$(site_pid "$2")"; sleep 0.3; run_site "$2" ;;
    both) sleep 0.05 # the host has heard the end of the tree, too
        kill -9 "$(site_pid guest)" "$(site_pid host)"; sleep 0.3; run_site host && sleep 0.5 && run_site guest ;;
    stop) "$norn" site stop "$dir/$2" && run_site "$2" ;;
    esac
}
for case in "task host" "task guest" "site host" "site guest" "both sites" "stop guest" "stop host"; do
    set -- $case
    check "$case: a job" submit retry
    check "$case: it is at tree 7" at_tree 7
    check "$case: interrupted" kill_now "$@"
    check "$case: goes on by itself to its end" ends success
    check "$case: from tree 7" from_tree 7
    check "$case: the undisturbed model, scores and metrics" same got
done
check "where no retry is allowed: a job" submit plain
check "at tree 7" at_tree 7
check "killed" kill_now task host
check "the job fails" ends failed
grep -q "SIGKILL" <("$norn" job show --site "$dir/host" "$job"); say $? "the host has the reason"
check "rerun" "$norn" job rerun --site "$dir/guest" "$job" --wait
check "went on from tree 7" from_tree 7
check "the undisturbed model" same got
check "a job, and both sites killed" submit plain
check "at tree 7 again" at_tree 7
check "both killed" kill_now both sites
check "failed, since nobody may retry" ends failed
check "linked again" linked
check "rerun after that" "$norn" job rerun --site "$dir/guest" "$job" --wait
check "from tree 7, too" from_tree 7
check "the same model again" same got

# ---- the link is cut ----
cut() { touch "$dir/cut"; sleep "$1"; rm "$dir/cut"; }
in_component() { for _ in $(seq 3000); do "$norn" job show --site "$dir/guest" "$job" --json | grep -q "\"component\":\"$1\"[^}]*\"status\":\"running\"" && return 0; sleep 0.01; done; return 1; }
deadline=$((cut_s + 20))s
for s in guest host; do check "$s again" "$norn" site stop "$dir/$s"; check "with a deadline of $deadline" run_site $s; done
check "linked" linked
check "a job" submit plain
check "in PSI" in_component intersection_0
check "a cut of $cut_s s in PSI" cut "$cut_s"
check "and one in training" at_tree 2
check "of $cut_s s" cut "$cut_s"
check "it goes on by itself" ends success
grep -q "goes on from" "$(log_of guest $boost)"; say $((1 - $?)) "without another attempt"
check "the undisturbed model" same got
"$norn" predict --site "$dir/guest" --version "$job" --table t/guest --host-table 10000=t/host --out "$dir/p.want" >"$dir/out" 2>&1; say $? "a prediction"
"$norn" predict --site "$dir/guest" --version "$job" --table t/guest --host-table 10000=t/host --out "$dir/p.got" >"$dir/out2" 2>&1 &
predict=$!
sleep 0.25
check "a cut of $cut_s s in a prediction" cut "$cut_s"
wait $predict; say $? "it ends well"
check "with the same scores" cmp "$dir/p.want" "$dir/p.got"

deadline=2s
for s in guest host; do check "$s again" "$norn" site stop "$dir/$s"; check "with a deadline of $deadline" run_site $s; done
check "linked" linked
check "a job that may not be tried again" submit plain
check "at tree 2" at_tree 2
check "the link is down for longer than its deadline" cut 6
check "the job ends" ends failed
for s in guest host; do
    for _ in $(seq 100); do [ "$(state $s)" = running ] || break; sleep 0.1; done
    grep -q "reason: .*10000" <("$norn" job show --site "$dir/$s" "$job"); say $? "with its reason at the $s"
done
grep -hE "reason:" <("$norn" job show --site "$dir/guest" "$job") | head -1 | sed 's/^/# /'
check "linked again" linked
check "a job that may" submit retry
check "at tree 2 of it" at_tree 2
check "the link is down again" cut 6
check "it goes on by itself" ends success
check "from its checkpoint" from_tree 2
check "the undisturbed model" same got

# ---- nothing is left ----
left() { # checkpoints of jobs that succeeded
    for f in "$dir"/*/jobs/*/*/*/checkpoint; do
        [ -d "$f" ] || continue
        job=$(basename "$(dirname "$(dirname "$(dirname "$f")")")")
        [ "$(state)" != success ] || echo "$f"
    done
}
check "no checkpoint of a job that succeeded" test -z "$(left)"
for s in guest host; do
    check "no task process at the $s" test -z "$(pgrep -P "$(site_pid $s)" || true)"
done
echo "1..$n"
echo "# $((n - bad)) passed, $bad failed"
[ $bad = 0 ]
