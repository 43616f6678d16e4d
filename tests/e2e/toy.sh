#!/bin/bash
# Two sites on loopback, real processes: the toy job, its limits, everything that may die or be wrong. TAP on stdout.
# usage: toy.sh NORN NORN_TEST      NORN_TEST is norn with the components of tests/flow/parts.c
set -u
[ -x "$1" ] && [ -x "$2" ] || { echo "usage: toy.sh NORN NORN_TEST"; exit 2; }
norn=$(realpath "$1") test_norn=$(realpath "$2")
dir=$(mktemp -d /tmp/norn-e2e-XXXXXX)
n=0 bad=0
bin=$norn

say() { n=$((n + 1)); if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; bad=$((bad + 1)); sed 's/^/# /' "$dir/out" | tail -20; fi; }
# check WHAT COMMAND...: the command must succeed
check() { local what=$1; shift; "$@" >"$dir/out" 2>&1; say $? "$what"; }
# refuses WHAT CODE TEXT COMMAND...: that exit code, that text
refuses() {
    local what=$1 code=$2 text=$3; shift 3
    "$@" >"$dir/out" 2>&1; local got=$?
    [ $got = "$code" ] && grep -qF -- "$text" "$dir/out"; local ok=$?
    [ $ok = 0 ] || echo "exit code $got, want $code and: $text" >>"$dir/out"
    say $ok "$what"
}
now() { date +%s%N; }
since_ms() { echo $((($(now) - $1) / 1000000)); }
# field FILE KEY: the first "KEY":value of a JSON text
field() { grep -o "\"$2\":[^,}]*" "$1" | head -1 | sed 's/^[^:]*://; s/"//g'; }
cleanup() {
    for s in guest host third stranger; do
        "$bin" site stop "$dir/$s" >/dev/null 2>&1
    done
    rm -rf "$dir"
}
trap cleanup EXIT

write_jobs() {
    cat >"$dir/toy_dsl.json" <<'J'
{"components":{"secure_add_example_0":{"module":"SecureAddExample"}}}
J
    cat >"$dir/toy_conf.json" <<'J'
{"dsl_version":2,"initiator":{"role":"guest","party_id":9999},"role":{"guest":[9999],"host":[10000]},
 "job_parameters":{"common":{"job_type":"train","task_cores":1}},
 "component_parameters":{"common":{"secure_add_example_0":{"data_num":1000}}}}
J
    cat >"$dir/ping_dsl.json" <<'J'
{"components":{"ping_0":{"module":"TestPing","output":{"data":["data"]}},
 "ping_1":{"module":"TestPing","input":{"data":{"data":["ping_0.data"]}},"output":{"data":["data"]}}}}
J
    conf() { echo '{"dsl_version":2,"initiator":{"role":"guest","party_id":9999},"role":{"guest":[9999],"host":[10000]},'"$1"'}'; }
    conf '"component_parameters":{}' >"$dir/ping_conf.json"
    sed 's/10000/9999/' "$dir/ping_conf.json" >"$dir/alone_conf.json"
    conf '"component_parameters":{"common":{"ping_1":{"rounds":1000,"delay_ms":20}}}' >"$dir/slow_conf.json"
    conf '"component_parameters":{"common":{"ping_1":{"rounds":50,"delay_ms":20}}}' >"$dir/second_conf.json"
    conf '"component_parameters":{"role":{"host":{"0":{"ping_1":{"fail_round":1}}}}}' >"$dir/fail_conf.json"
    conf '"component_parameters":{"role":{"host":{"0":{"ping_1":{"crash_round":1}}}}}' >"$dir/crash_conf.json"
    conf '"component_parameters":{"role":{"host":{"0":{"ping_1":{"silent_round":1}}}}}' >"$dir/silent_conf.json"
    conf '"job_parameters":{"common":{"timeout":0.5}},"component_parameters":{"common":{"ping_1":{"rounds":1000,"delay_ms":20}}}' >"$dir/timeout_conf.json"
    conf '"component_parameters":{"common":{"ping_0":{"ronds":3}}}' >"$dir/unknown_param.json"
    conf '"component_parameters":{"role":{"host":{"0":{"ping_0":{"rounds":0}}}}}' >"$dir/bad_value.json"
    conf '"job_parameters":{"common":{"task_core":3}}' >"$dir/unknown_job_param.json"
    echo '{"dsl_version":2,' >"$dir/broken.json"
    sed 's/10000/10001/' "$dir/ping_conf.json" >"$dir/unknown_party.json"
    sed 's/TestPing/TestPign/' "$dir/ping_dsl.json" >"$dir/unknown_module.json"
    sed 's/ping_0.data/ping_1.data/' "$dir/ping_dsl.json" >"$dir/cycle.json"
}

port() { # one that is free now
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null ||
        echo $((20000 + RANDOM % 20000))
}
start() { "$bin" site run "$dir/$1" "${@:2}"; }
wait_link() { for _ in $(seq 200); do "$bin" site status "$dir/guest" | grep -q '^  party .* up ' && return 0; sleep 0.05; done; return 1; }
submit() { "$bin" job submit --site "$dir/guest" --dsl "$dir/$1" --conf "$dir/$2" "${@:3}"; }
status_at() { "$bin" job list --site "$dir/$1" --max 1 --json | grep -o '"status":"[a-z]*"' | head -1 | cut -d'"' -f4; }
job_id() { "$bin" job list --site "$dir/guest" --max 1 --json | grep -o '"job":"[0-9]*"' | head -1 | cut -d'"' -f4; }
# Until the job of the site is no longer running; prints the milliseconds.
wait_end() { local t; t=$(now); for _ in $(seq 500); do case $(status_at "$1") in waiting | running) sleep 0.02 ;; *) break ;; esac; done; since_ms "$t"; }
wait_task() { # until the second component runs at both parties
    for _ in $(seq 200); do [ "$("$bin" site status "$dir/host" --json | grep -o '"tasks":1' | wc -l)" = 1 ] &&
        "$bin" job show --site "$dir/guest" "$1" --json | grep -q '"component":"ping_1"[^}]*"status":"running"' && return 0; sleep 0.02; done
    return 1
}
task_pid() { "$bin" job show --site "$dir/$1" "$2" --json | tr '{' '\n' | grep '"component":"ping_1"' | grep "\"role\":\"$3\"" | grep "\"party\":${4:-}" | grep -o '"pid":[0-9]*' | cut -d: -f2; }

write_jobs
gport=$(port) hport=$(port)
check "a CA" "$norn" ca init "$dir/ca" --name test
check "a guest's site" "$norn" site init "$dir/guest" --party 9999 --listen 127.0.0.1:"$gport" --http 127.0.0.1:0 --peer 10000=127.0.0.1:"$hport" --ca "$dir/ca"
check "a host's site" "$norn" site init "$dir/host" --party 10000 --listen 127.0.0.1:"$hport" --http 127.0.0.1:0 --peer 9999=127.0.0.1:"$gport" --ca "$dir/ca"
refuses "no second site in a folder" 8 "is a site already" "$norn" site init "$dir/guest" --party 9999
refuses "status of a site that does not run" 13 "no site runs" "$norn" site status "$dir/guest"
refuses "a setting nobody knows" 2 "did you mean heartbeat?" "$norn" site run "$dir/guest" --set heartbaet=2s

# ---- the toy ----
check "the guest starts" start guest
check "the host starts" start host
refuses "one process a folder" 13 "runs in" start guest
check "they find each other" wait_link
check "toy job" submit toy_dsl.json toy_conf.json --wait
t=$(now); submit toy_dsl.json toy_conf.json --wait --json >"$dir/toy.json" 2>&1; ms=$(since_ms "$t")
s=$(field "$dir/toy.json" seconds); cp "$dir/toy.json" "$dir/out"
echo "# toy: $s s from submit to success, $ms ms with the command"
wait_end host >/dev/null
check "the host has it, too" test "$(status_at host)" = success
check "doctor is content" "$norn" doctor --site "$dir/guest"
check "the log of a task" "$norn" job logs --site "$dir/guest" "$(job_id)" secure_add_example_0
check "guest stops" "$norn" site stop "$dir/guest"
check "host stops" "$norn" site stop "$dir/host"
check "records without a site" "$norn" job show --site "$dir/guest" "$(job_id)"

# ---- what is refused, and that nothing is stored then ----
bin=$test_norn
check "start again" start guest --set task_deadline=3s
check "and the host" start host --set task_deadline=3s
check "they find each other again" wait_link
before=$("$bin" job list --site "$dir/guest" --max 0 --json | grep -o '"job":' | wc -l)
refuses "unknown module" 2 "did you mean TestPing?" submit unknown_module.json ping_conf.json
refuses "unknown parameter" 2 "did you mean rounds?" submit ping_dsl.json unknown_param.json
refuses "bad value, with its bound" 2 "rounds is 0, want 1 to 1000000" submit ping_dsl.json bad_value.json
refuses "unknown job parameter" 2 "did you mean task_cores?" submit ping_dsl.json unknown_job_param.json
refuses "unknown party" 2 "host 10001 is unknown to this site" submit ping_dsl.json unknown_party.json
refuses "cycle" 2 "cycle" submit cycle.json ping_conf.json
refuses "broken JSON" 3 "broken.json: line 2" submit toy_dsl.json broken.json
after=$("$bin" job list --site "$dir/guest" --max 0 --json | grep -o '"job":' | wc -l)
check "nothing of that is stored" test "$before" = "$after"

# ---- jobs that end well, and badly ----
check "two components" submit ping_dsl.json ping_conf.json --wait
check "guest and host at one site" submit ping_dsl.json alone_conf.json --wait
refuses "a task that fails" 15 "told to fail in round 1" submit ping_dsl.json fail_conf.json --wait
wait_end host >/dev/null
check "failed at the host, too" test "$(status_at host)" = failed
refuses "a task that crashes" 15 "killed by signal 11 (SIGSEGV)" submit ping_dsl.json crash_conf.json --wait
refuses "its last log lines are shown" 15 "about to crash" submit ping_dsl.json crash_conf.json --wait
refuses "a silent peer" 15 "ping_1 at guest 9999" submit ping_dsl.json silent_conf.json --wait
grep -q 'waited for pong.* of host 10000 for .*; the link to party 10000 is up.*; its task: .* s of processor.*; last log line: .*task starts' "$dir/out"; say $? "its deadline's text is all that is known"
refuses "a job's timeout" 12 "timeout" submit ping_dsl.json timeout_conf.json --wait

# ---- tables, a model, a prediction ----
printf 'id,x0,y\na,1,0\nb,2,1\nc,3,0\n' >"$dir/g.csv"
printf 'id,x0\nb,2\nc,3\nd,4\n' >"$dir/h.csv"
check "upload at the guest" "$bin" upload --site "$dir/guest" "$dir/g.csv" --table exp/g
check "upload at the host" "$bin" upload --site "$dir/host" "$dir/h.csv" --table exp/h
cat >"$dir/model_dsl.json" <<'J'
{"components":{"reader_0":{"module":"Reader","output":{"data":["data"]}},
 "model_0":{"module":"TestModel","input":{"data":{"data":["reader_0.data"]}},"output":{"data":["data"],"model":["model"]}}}}
J
conf '"component_parameters":{"role":{"guest":{"0":{"reader_0":{"table":{"name":"g","namespace":"exp"}}}},"host":{"0":{"reader_0":{"table":{"name":"h","namespace":"exp"}}}}}}' >"$dir/model_conf.json"
sed 's/"h"/"nothing"/' "$dir/model_conf.json" >"$dir/no_table.json"
refuses "a table the host does not have" 15 "host 10000: reader_0 at host 10000: there is no table exp/nothing" submit model_dsl.json no_table.json
check "a job that trains" submit model_dsl.json model_conf.json --wait
job=$(job_id)
"$bin" job output --site "$dir/host" "$job" model_0 >"$dir/out" 2>&1; grep -q '^d,4' "$dir/out"; say $? "its output at the host"
check "the model is listed" "$bin" model show --site "$dir/host" "$job"
refuses "predict needs the host's table" 2 "--host-table 10000=NAMESPACE/NAME is missing" "$bin" predict --site "$dir/guest" --version "$job" --table exp/g
check "predict" "$bin" predict --site "$dir/guest" --version "$job" --table exp/g --host-table 10000=exp/h --out "$dir/p.csv"
check "its result" grep -q '^c,3' "$dir/p.csv"
"$bin" job summary --site "$dir/host" "$(job_id)" model_0 >"$dir/out" 2>&1; grep -q '"predict":true' "$dir/out"; say $? "the host used its half of the model"
check "the model as an archive" "$bin" model export --site "$dir/host" --out "$dir/m.zip" "$job"
refuses "which is here already" 8 "" "$bin" model import --site "$dir/host" "$dir/m.zip"

# ---- a task killed by hand; rerun ----
submit ping_dsl.json second_conf.json >"$dir/out" 2>&1
job=$(job_id)
check "a slow job runs" wait_task "$job"
pid=$(task_pid host "$job" host)
t=$(now)
check "its task has a process" kill -9 "$pid"
wait_end guest >/dev/null; wait_end host >/dev/null
ms=$(since_ms "$t")
echo "# killed task: both parties know after $ms ms"
check "both know within 2 s ($ms ms)" test "$ms" -le 2000
for s in guest host; do
    "$bin" job show --site "$dir/$s" "$job" >"$dir/out" 2>&1
    grep -q 'killed by signal 9 (SIGKILL)' "$dir/out"; say $? "the $s says which signal"
done
"$bin" job rerun --site "$dir/guest" "$job" >"$dir/out" 2>&1; grep -q '1 components kept' "$dir/out"; say $? "rerun keeps what succeeded"
wait_end guest >/dev/null
check "and succeeds" test "$(status_at guest)" = success
wait_end host >/dev/null
check "at the host, too" test "$(status_at host)" = success
refuses "a job that succeeded is not run again" 13 "nothing to run again" "$bin" job rerun --site "$dir/guest" "$job"
submit ping_dsl.json slow_conf.json >"$dir/out" 2>&1
job=$(job_id)
check "another slow job" wait_task "$job"
"$bin" job why --site "$dir/guest" "$job" >"$dir/out" 2>&1; grep -q 'ping_1 at guest 9999' "$dir/out"; say $? "why says who does what"
check "stop at the host" "$bin" job stop --site "$dir/host" "$job"
wait_end guest >/dev/null
check "canceled at the guest" test "$(status_at guest)" = canceled

refuses "a host cannot submit the guest's job" 2 "submit there" "$bin" job submit --site "$dir/host" --dsl "$dir/ping_dsl.json" --conf "$dir/ping_conf.json"
check "the host may rerun it" "$bin" job rerun --site "$dir/host" "$job"
check "and it runs" wait_task "$job"
refuses "a job that runs is not run again" 13 "has not ended" "$bin" job rerun --site "$dir/guest" "$job"
check "stop at the guest, too" "$bin" job stop --site "$dir/guest" "$job"
wait_end host >/dev/null
check "canceled at the host" test "$(status_at host)" = canceled

# ---- why, of a silent peer ----
submit ping_dsl.json silent_conf.json >/dev/null 2>&1
job=$(job_id)
check "a job with a silent host runs" wait_task "$job"
sleep 0.3
"$bin" job why --site "$dir/guest" "$job" >"$dir/out" 2>&1
grep -q "for message 'pong'.*of host 10000; the link to 10000 is up.*host 10000's task is running" "$dir/out"; say $? "why names message, link and the other task"
check "stop at the guest" "$bin" job stop --site "$dir/guest" "$job"

# ---- a site dies ----
submit ping_dsl.json slow_conf.json >"$dir/out" 2>&1
job=$(job_id)
check "a slow job runs again" wait_task "$job"
pid=$(task_pid host "$job" host)
kill -9 "$("$bin" site status "$dir/host" --json | grep -o '"pid":[0-9]*' | head -1 | cut -d: -f2)"
sleep 0.3
gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; } # an init that reaps late leaves a zombie
check "the task dies with its site" gone "$pid"
check "the host's site starts again" start host --set task_deadline=3s
wait_end guest >/dev/null
for s in guest host; do
    "$bin" job show --site "$dir/$s" "$job" >"$dir/out" 2>&1
    grep -q 'reason: ping_1 at host 10000: site 10000 restarted at' "$dir/out"; say $? "the $s says why the job ended"
done
check "the link is up again" wait_link
check "and a job runs" submit ping_dsl.json ping_conf.json --wait
submit ping_dsl.json slow_conf.json >"$dir/out" 2>&1
job=$(job_id)
check "one more slow job" wait_task "$job"
kill -9 "$("$bin" site status "$dir/guest" --json | grep -o '"pid":[0-9]*' | head -1 | cut -d: -f2)"
check "the guest's site starts again" start guest --set task_deadline=3s
check "its link is up" wait_link
wait_end host >/dev/null
for s in guest host; do
    "$bin" job show --site "$dir/$s" "$job" >"$dir/out" 2>&1
    grep -q 'reason: ping_1 at guest 9999: site 9999 restarted at' "$dir/out"; say $? "the $s says why that job ended"
done
check "rerun after a restart" "$bin" job rerun --site "$dir/guest" "$job"
check "which runs" wait_task "$job"
check "a graceful stop of the host" "$bin" site stop "$dir/host"
wait_end guest >/dev/null
"$bin" job show --site "$dir/guest" "$job" >"$dir/out" 2>&1
grep -q 'site 10000 was stopped' "$dir/out"; say $? "the guest says that the host was stopped"
refuses "no peer, no job" 12 "10000" submit ping_dsl.json ping_conf.json
refuses "doctor names the hop" 13 "peer 10000" "$bin" doctor --site "$dir/guest"

# ---- keys and ports ----
check "another CA" "$norn" ca init "$dir/other_ca" --name other
check "a stranger's site" "$norn" site init "$dir/stranger" --party 10000 --listen 127.0.0.1:"$hport" --http 127.0.0.1:0 --peer 9999=127.0.0.1:"$gport" --ca "$dir/other_ca"
check "it starts" start stranger
sleep 1
"$bin" site status "$dir/guest" >"$dir/out" 2>&1; grep -q 'DOWN' "$dir/out"; say $? "no link to a certificate of another CA"
check "the stranger stops" "$bin" site stop "$dir/stranger"
refuses "the port is taken" 9 "$gport" start stranger --set listen=127.0.0.1:"$gport"
cp "$dir/stranger/keys/site.crt" "$dir/crt"; cp "$dir/guest/keys/site.crt" "$dir/stranger/keys/site.crt"
refuses "another's certificate" 5 "site.crt" start stranger
cp "$dir/crt" "$dir/stranger/keys/site.crt"
refuses "a certificate of another party" 5 "10000" start stranger --set party=10002

# ---- three parties ----
tport=$(port)
check "a second host" "$norn" site init "$dir/third" --party 10001 --listen 127.0.0.1:"$tport" --http 127.0.0.1:0 --peer 9999 --ca "$dir/ca"
check "the guest learns of it" "$norn" site add-peer "$dir/guest" 10001=127.0.0.1:"$tport"
check "the guest stops for that" "$bin" site stop "$dir/guest"
check "and starts" start guest
check "the first host starts" start host
check "the second host starts" start third
wait_both() { for _ in $(seq 200); do [ "$("$bin" site status "$dir/guest" | grep -c '^  party .* up ')" = 2 ] && return 0; sleep 0.05; done; return 1; }
check "two links, one dialled only by the guest" wait_both
for c in ping slow; do sed 's/\[10000\]/[10000,10001]/' "$dir/${c}_conf.json" >"$dir/${c}3_conf.json"; done
check "a job of three" submit ping_dsl.json ping3_conf.json --wait
submit ping_dsl.json slow3_conf.json >"$dir/out" 2>&1
job=$(job_id)
check "a slow job of three" wait_task "$job"
check "the second host's task has few descriptors" test "$(ls /proc/"$(task_pid third "$job" host 10001)"/fd | wc -l)" -le 6
t=$(now)
check "the second host's task is killed" kill -9 "$(task_pid third "$job" host 10001)"
for s in guest host third; do wait_end $s >/dev/null; done
ms=$(since_ms "$t")
check "all three know within 2 s ($ms ms)" test "$ms" -le 2000
for s in guest host third; do
    "$bin" job show --site "$dir/$s" "$job" >"$dir/out" 2>&1
    grep -q 'ping_1 at host 10001: killed by signal 9 (SIGKILL)' "$dir/out"; say $? "the $s says whose task it was"
done
check "the second host stops" "$bin" site stop "$dir/third"
check "the host stops" "$bin" site stop "$dir/host"

# ---- many at once ----
check "the host, once more" start host
check "linked" wait_link
t=$(now)
for _ in $(seq 24); do submit ping_dsl.json ping_conf.json >/dev/null 2>&1; done
wait_all() { for _ in $(seq 600); do "$bin" job list --site "$dir/guest" --max 24 --json | grep -q '"status":"\(running\|waiting\)"' || return 0; sleep 0.05; done; return 1; }
check "24 jobs at once end" wait_all
echo "# 24 jobs of two components: $(since_ms "$t") ms"
check "all of them well" test "$("$bin" job list --site "$dir/guest" --max 24 --json | grep -o '"status":"success"' | wc -l)" = 24
left=$(pgrep -f 'norn task' -P "$("$bin" site status "$dir/guest" --json | grep -o '"pid":[0-9]*' | head -1 | cut -d: -f2)" | wc -l)
check "no process is left" test "$left" = 0
echo "1..$n"
echo "# $((n - bad)) passed, $bad failed"
[ $bad = 0 ]
