#!/bin/bash
# A site as a service: what it keeps and removes, a full disk, stop and restart with running jobs, logs, systemd's protocol,
# metrics, the doctor and its bundle. TAP on stdout.   usage: operations.sh NORN_TEST NORN
set -u
[ -x "$1" ] && [ -x "$2" ] || { echo "usage: operations.sh NORN_TEST NORN"; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
NORN=$1
real=$(realpath "$2")
. "$here/../../bench/sites.sh"
n=0 bad=0
say() { n=$((n + 1)); if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; bad=$((bad + 1)); sed 's/^/# /' "$dir/out" | tail -20; fi; }
check() { local what=$1; shift; "$@" >"$dir/out" 2>&1; say $? "$what"; }
has() { # WHAT TEXT COMMAND...: succeeds and says it
    local what=$1 text=$2; shift 2
    "$@" >"$dir/out" 2>&1 && grep -qF -- "$text" "$dir/out"; say $? "$what"
}
refuses() { # WHAT CODE TEXT COMMAND...
    local what=$1 code=$2 text=$3; shift 3
    "$@" >"$dir/out" 2>&1; local got=$?
    [ $got = "$code" ] && grep -qF -- "$text" "$dir/out"; local ok=$?
    [ $ok = 0 ] || echo "exit code $got, want $code and: $text" >>"$dir/out"
    say $ok "$what"
}
skip() { n=$((n + 1)); echo "ok $n - $1 # SKIP $2"; }
until_ok() { for _ in $(seq 500); do "$@" >/dev/null 2>&1 && return 0; sleep 0.05; done; return 1; }
json() { python3 -c 'import json, sys; d = json.load(sys.stdin); print(eval(sys.argv[1], {"d": d}))' "$1"; }
status() { "$norn" status --site "$dir/$1" --json | json "$2"; }
linked() { "$norn" site status "$dir/guest" | grep -q '^  party .* up '; }
sets=(--set http_listen=none --set keep_interval=200ms)
start() { "$norn" site run "$dir/$1" "${sets[@]}" "${@:2}"; }

cat >"$dir/ping.json" <<'J'
{"components":{"ping_0":{"module":"TestPing","output":{"data":["data"]}}}}
J
cat >"$dir/model.json" <<'J'
{"components":{"reader_0":{"module":"Reader","output":{"data":["data"]}},
 "model_0":{"module":"TestModel","input":{"data":{"data":["reader_0.data"]}},"output":{"data":["data"],"model":["model"]}}}}
J
conf() { echo '{"dsl_version":2,"initiator":{"role":"guest","party_id":9999},"role":{"guest":[9999],"host":[10000]},'"$1"'}'; }
conf '"component_parameters":{}' >"$dir/conf.json"
conf '"component_parameters":{"common":{"ping_0":{"rounds":60,"delay_ms":50}}}' >"$dir/slow.json"
conf '"component_parameters":{"role":{"host":{"0":{"ping_0":{"fail_round":1}}}}}' >"$dir/fail.json"
conf '"component_parameters":{"common":{"reader_0":{"table":{"name":"t","namespace":"x"}}}}' >"$dir/read.json"
printf 'id,x0,y\na,1,0\nb,2,1\nc,3,0\n' >"$dir/t.csv"
sed 's/10000/1/g; s/9999/10000/g; s/\[1\]/[9999]/' "$dir/conf.json" >"$dir/theirs.json" # the host's site begins it
submit() { "$norn" job submit --site "$dir/guest" --dsl "$dir/$1.json" --conf "$dir/$2.json" "${@:3}"; }
last_job() { "$norn" job list --site "$dir/${1:-guest}" --max 1 --json | json 'd[0]["job"] if d else ""'; }
ended() { [ "$("$norn" job list --site "$dir/$1" --max 1 --json | json 'd[0]["status"] in ("success", "failed", "canceled")')" = True ]; }

check "two sites" sites_start "${sets[@]}"

# ---- after a job nothing is left ----
check "a table here and there" eval 'upload guest "$dir/t.csv" x/t && upload host "$dir/t.csv" x/t'
check "a job with outputs" submit model read --wait
check "a job that fails" eval '! submit ping fail --wait'
until_ok ended host
check "no streams" test "$(status guest 'len(d["streams"])') $(status host 'len(d["streams"])')" = "0 0"
check "no open jobs" test "$(status guest 'len(d["jobs"])') $(status host 'len(d["jobs"])')" = "0 0"
no_failed_outputs() { [ -z "$(find "$dir"/*/jobs/"$(last_job)" -name 'out.*')" ]; }
check "outputs of failed tasks are removed at both" until_ok no_failed_outputs
check "those of the good one are there" test "$(find "$dir/host/jobs" -path '*model_0/out.0/data' | wc -l)" = 1
has "status in words" "tables: 1" "$norn" status --site "$dir/guest"
submit ping slow >/dev/null 2>&1
check "open jobs, processes and streams are listed" until_ok eval '[ "$(status guest "sum(len(j[\"processes\"]) for j in d[\"jobs\"]) and len(d[\"streams\"])")" -ge 1 ]'
has "its disk use by kind" '"job_files":{"bytes":' "$norn" status --site "$dir/guest" --json

# ---- metrics ----
"$norn" site metrics "$dir/guest" >"$dir/out" 2>&1
python3 - "$dir/out" >"$dir/metrics" 2>&1 <<'P'
import re, sys
seen, typed = {}, {}
for line in open(sys.argv[1]):
    line = line.rstrip("\n")
    m = re.match(r"# TYPE (\w+) (gauge|counter)$", line)
    if m:
        assert m[1] not in typed, line
        typed[m[1]] = m[2]
    elif not line.startswith("# HELP "):
        m = re.match(r'(\w+)(\{(?:\w+="[^"]*",?)*\})? (\S+)$', line)
        assert m and m[1] in typed, line
        assert (m[1], m[2]) not in seen, line
        assert m[1].endswith("_total") == (typed[m[1]] == "counter"), line
        seen[m[1], m[2]] = float(m[3])
assert seen["norn_link_up", '{peer="10000"}'] == 1 and seen["norn_task_processes", None] == 1
assert seen["norn_jobs", '{status="running"}'] == 1 and seen["norn_jobs", '{status="failed"}'] == 1
P
say $? "metrics are Prometheus' text, and right"

# ---- stop and restart with a running job ----
"$norn" site stop "$dir/guest" --drain 30s >"$dir/stop.out" 2>&1 &
stopper=$!
check "it drains" until_ok eval '[ "$(status guest "d[\"draining\"]")" = True ]'
refuses "no new jobs meanwhile" 13 "about to stop" submit ping conf
refuses "nor the other party's" 15 "site 9999 is about to stop" "$norn" job submit --site "$dir/host" --dsl "$dir/ping.json" --conf "$dir/theirs.json"
wait $stopper; cp "$dir/stop.out" "$dir/out"
grep -q "waits at most 30 s for 1 job to end" "$dir/out"; say $? "the stop says for what it waits"
until_ok ended host
check "the job has succeeded at both" eval '[ "$("$norn" job list --site "$dir/guest" --max 1 --json | json "d[0][\"status\"]") $("$norn" job list --site "$dir/host" --max 1 --json | json "d[0][\"status\"]")" = "success success" ]'
check "databases are closed: no journal is left" test ! -s "$dir/guest/jobs.db-wal"
check "a restart of what does not run is a start" "$norn" site restart "$dir/guest" "${sets[@]}"
check "linked again" until_ok linked
check "a restart, with another setting" "$norn" site restart "$dir/guest" --drain 5s "${sets[@]}" --set log_size=4KiB --set log_files=2
check "and linked" until_ok linked

# ---- logs ----
for _ in $(seq 16); do submit ping conf --wait >/dev/null 2>&1; done
check "the log is turned over" until_ok test -f "$dir/guest/logs/site.log.1"
for _ in $(seq 16); do submit ping conf --wait >/dev/null 2>&1; done
until_ok test -f "$dir/guest/logs/site.log.2"
check "as many as log_files says" test "$(ls "$dir/guest/logs" | grep -c 'site.log')" -le 3
mv "$dir/guest/logs/site.log" "$dir/guest/logs/moved"
pid=$("$norn" site status "$dir/guest" --json | json 'd["pid"]')
check "SIGHUP" kill -HUP "$pid"
check "opens it again" until_ok grep -q '"event":"log begins"' "$dir/guest/logs/site.log"
check "no core dumps" eval 'grep "^Max core file size" /proc/$pid/limits | grep -q " 0  *0 "'

# ---- what is kept ----
jobs_at() { "$norn" job list --site "$dir/$1" --max 0 --json | json 'len(d)'; }
check "a restart that keeps three jobs" "$norn" site restart "$dir/guest" "${sets[@]}" --set keep_jobs_number=3
check "the older ones go" until_ok eval '[ "$(jobs_at guest)" = 3 ]'
check "with their folders" until_ok eval '[ "$(ls "$dir/guest/jobs" | wc -l)" = 3 ]'
check "the other party keeps its own" test "$(jobs_at host)" -gt 3
check "models stay" test -n "$(ls "$dir/guest/models")"
check "linked once more" until_ok linked
check "one more job with outputs" submit model read --wait
job=$(last_job)
check "keep_outputs" "$norn" site restart "$dir/guest" "${sets[@]}" --set keep_outputs=1s
check "its outputs go" until_ok eval '[ -z "$(find "$dir/guest/jobs/$job" -name "out.*")" ]'
check "its record stays" "$norn" job show --site "$dir/guest" "$job"
check "and its log" test -s "$dir/guest/jobs/$job/guest_9999/model_0/task.log"
check "keep_logs" "$norn" site restart "$dir/guest" "${sets[@]}" --set keep_logs=1s
check "its logs go" until_ok eval '[ -z "$(find "$dir/guest/jobs/$job" -name task.log)" ]'
check "keep_jobs" "$norn" site restart "$dir/guest" "${sets[@]}" --set keep_jobs=1s
check "all jobs go" until_ok eval '[ "$(jobs_at guest)" = 0 ]'
has "and are counted" 'norn_removed_jobs_total{what="jobs"}' "$norn" site metrics "$dir/guest"

# ---- the sweep at the start ----
check "the guest stops" "$norn" site stop "$dir/guest"
mkdir -p "$dir/guest/jobs/202001010000000000001/guest_9999/x/out.0" "$dir/guest/models/half.tmp"
touch "$dir/guest/jobs/something.tmp" "$dir/guest/half.part"
check "and starts" start guest
check "what a killed process left is gone" test -z "$(find "$dir/guest" -name '*.tmp' -o -name '*.part' -o -name '20200101*')"

# ---- disk ----
check "linked, too" until_ok linked
check "a quota that is used up" "$norn" site restart "$dir/guest" "${sets[@]}" --set disk_quota=10KiB
until_ok linked
refuses "no new job" 6 "disk_quota is 10240" submit ping conf
refuses "no upload" 6 "takes no new work" env NORN_DISK_QUOTA=10KiB "$norn" upload --site "$dir/guest" "$dir/t.csv" --table x/u
has "status says so" "takes no new work" "$norn" status --site "$dir/guest"
has "and the metrics" "norn_disk_room 0" "$norn" site metrics "$dir/guest"
refuses "the doctor, too" 13 "disk_quota is 10240" env NORN_DISK_QUOTA=10KiB "$norn" doctor --site "$dir/guest" --quick
check "no limit" "$norn" site restart "$dir/guest" "${sets[@]}"
check "the host's disk is too full" "$norn" site restart "$dir/host" "${sets[@]}" --set disk_min_free=1000TiB
until_ok linked
refuses "the submitter hears of it" 15 "host 10000: site 10000 takes no new work: its disk has" submit ping conf
check "the host as before" "$norn" site restart "$dir/host" "${sets[@]}"

# A disk that really is full: a small file system of its own.
small=$dir/small
mkdir "$small"
if mount -t tmpfs -o size=16m,mode=700 norn "$small" 2>/dev/null; then
    trap '"$norn" site stop "$small/full" >/dev/null 2>&1; umount -l "$small"; sites_clean' EXIT
    fport=$(sites_free_port)
    "$norn" site init "$small/full" --party 7 --listen 127.0.0.1:"$fport" --ca "$dir/ca" >/dev/null
    "$norn" generate --help >/dev/null 2>&1
    check "a site on a disk of 16 MiB" "$norn" site run "$small/full" "${sets[@]}" --set disk_min_free=1MiB
    alone() { conf "$1" | sed 's/9999/7/g; s/10000/7/g'; }
    alone '"component_parameters":{}' >"$dir/alone.json"
    alone '"component_parameters":{"common":{"ping_0":{"rounds":20,"delay_ms":50}}}' >"$dir/alone_slow.json"
    on_small() { "$norn" job submit --site "$small/full" --dsl "$dir/ping.json" --conf "$dir/$1.json" "${@:2}"; }
    check "a job there" on_small alone --wait
    python3 -c 'for i in range(900000): print(f"id{i},{i * 7919 % 1000},{i % 2}") if i else print("id,x0,y")' >"$dir/big.csv"
    refuses "an upload that does not fit" 9 "No space left on device" env NORN_DISK_MIN_FREE=1MiB "$norn" upload --site "$small/full" "$dir/big.csv" --table x/big
    has "has left nothing" "[]" "$norn" table list --site "$small/full" --json
    check "not on the disk either" test -z "$(ls "$small/full/store/tables")"
    on_small alone_slow >/dev/null 2>&1
    slow=$("$norn" job list --site "$small/full" --max 1 --json | json 'd[0]["job"]')
    dd if=/dev/zero of="$small/fill" bs=64k >/dev/null 2>&1
    dd if=/dev/zero of="$small/fill2" bs=1k >/dev/null 2>&1
    refuses "no new job" 6 "bytes free, disk_min_free is 1048576" on_small alone
    sleep 2 # the slow job ends while nothing can be written
    has "the site answers" '"party":7' "$norn" site status "$small/full" --json
    state() { "$norn" job list --site "$small/full" --max 1 --json | json 'd[0]["status"]'; }
    rm "$small/fill" "$small/fill2"
    check "once there is room its end is on record" until_ok eval '[ "$(state)" = failed ]'
    has "and says why" "disk is full" "$norn" job show --site "$small/full" "$slow"
    check "and jobs run" on_small alone --wait
    check "the site on the small disk stops" "$norn" site stop "$small/full"
    check "its database is sound" eval '[ "$("$norn" doctor --site "$small/full" --json | json "[c[\"verdict\"] for c in d[\"checks\"] if c[\"check\"] == \"job database\"][0]")" = ok ]'
    umount "$small"
    trap sites_clean EXIT
else
    skip "a full disk" "no file system of our own here"
fi

# ---- systemd's protocol ----
cat >"$dir/notify.py" <<'P'
import os, signal, socket, subprocess, sys, time
path = sys.argv[1]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(path)
s.settimeout(10)
env = dict(os.environ, NOTIFY_SOCKET=path, WATCHDOG_USEC="400000")
p = subprocess.Popen(sys.argv[2:], env=env, stderr=subprocess.DEVNULL)
def wait(word):
    while True:
        text = s.recv(4096).decode()
        if word in text: return text
text = wait("READY=1")
assert f"MAINPID={p.pid}" in text, text
t = time.monotonic()
for _ in range(4): wait("WATCHDOG=1")
assert time.monotonic() - t < 2
p.send_signal(signal.SIGTERM)
wait("STOPPING=1")
assert p.wait(10) == 0
P
check "the guest stops for systemd" "$norn" site stop "$dir/guest"
check "READY, WATCHDOG, STOPPING" python3 "$dir/notify.py" "$dir/notify.sock" "$norn" site run "$dir/guest" --foreground "${sets[@]}"
check "the unit is well formed" eval '! command -v systemd-analyze || { sed "s|/usr/bin/norn|$norn|" "$here/../../deploy/systemd/norn@.service" >"$dir/norn@x.service" && systemd-analyze verify "$dir/norn@x.service"; }'

# ---- SIGTERM drains ----
check "a site with drain" start guest --set drain=20s
until_ok linked
submit ping slow >/dev/null 2>&1
pid=$("$norn" site status "$dir/guest" --json | json 'd["pid"]')
kill -TERM "$pid"
gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.Z' "/proc/$1/status"; }
check "SIGTERM waits for the job" until_ok gone "$pid"
check "which has succeeded" eval '[ "$("$norn" job list --site "$dir/guest" --max 1 --json | json "d[0][\"status\"]")" = success ]'

# ---- not as root ----
if [ "$(id -u)" = 0 ] && id nobody >/dev/null 2>&1; then
    refuses "a folder that is not the user's" 13 "chown -R nobody" start guest --set user=nobody
    refuses "a user that is none" 2 "no user norn-nobody-knows" start guest --set user=norn-nobody-knows
    chmod 711 "$dir"
    chown -R nobody "$dir/guest"
    check "a site of nobody's" start guest --set user=nobody
    pid=$("$norn" site status "$dir/guest" --json | json 'd["pid"]')
    uid=$(id -u nobody)
    grep -q "^Uid:.$uid.$uid.$uid.$uid" "/proc/$pid/status"; say $? "its process is nobody's, for good"
    until_ok linked
    check "and jobs run" submit ping conf --wait
    check "root's upload leaves no file of root's" eval 'chmod 644 "$dir/t.csv" && NORN_USER=nobody "$norn" upload --site "$dir/guest" "$dir/t.csv" --table x/v && [ -z "$(find "$dir/guest" -user root)" ]'
    check "it stops" "$norn" site stop "$dir/guest"
else
    skip "another user" "not root"
fi
check "the guest, once more" start guest

# ---- the doctor ----
norn=$real
sites_stop
check "the guest with all components" start guest
check "the host with them" start host
until_ok linked
has "a doctor's visit" "toy job 10000" "$norn" doctor --site "$dir/guest"
"$norn" doctor --site "$dir/guest" --json >"$dir/doctor.json" 2>&1
check "every check has a verdict" eval 'json "all(c[\"verdict\"] in (\"ok\", \"warn\", \"fail\") for c in d[\"checks\"]) and {\"chain\", \"speed 10000\", \"toy job 10000\", \"catalogue\", \"job database\"} <= {c[\"check\"] for c in d[\"checks\"] if c[\"verdict\"] == \"ok\"}" <"$dir/doctor.json" | grep -q True'
jobs_before=$(jobs_at guest)
check "quick: no job" eval '"$norn" doctor --site "$dir/guest" --quick >/dev/null && [ "$(jobs_at guest)" = "$jobs_before" ]'
echo '{"t":"2026-01-01T00:00:00.000Z","level":"info","event":"x","error":"row \"Alice Smith\" at AKIA9Q8W7E6R5T4Y"}' >>"$dir/guest/logs/site.log"
echo "plain words: 'Bob Jones' 4111111111111111 job 202611240930001234560 bob@example.org" >>"$dir/guest/logs/site.log"
check "a bundle" "$norn" doctor --site "$dir/guest" --quick --bundle "$dir/b.tgz"
refuses "not over another" 8 "is there already" "$norn" doctor --site "$dir/guest" --quick --bundle "$dir/b.tgz"
mkdir "$dir/unpacked" && tar xzf "$dir/b.tgz" -C "$dir/unpacked"
check "holds findings, settings, jobs, metrics and logs" eval 'cd "$dir/unpacked/norn-support" && ls about.json doctor.json settings.json jobs.json metrics.txt logs/site.log'
check "no secret, no row" eval '! grep -rE "Alice|Bob|AKIA9Q|4111111111|bob@|PRIVATE KEY|nt_[0-9a-zA-Z]{20}" "$dir/unpacked"'
check "but the job's id" grep -q 202611240930001234560 "$dir/unpacked/norn-support/logs/site.log"
check "for its owner only" test "$(stat -c %a "$dir/b.tgz")" = 600
check "the host stops" "$norn" site stop "$dir/host"
refuses "the doctor names the hop" 13 "Connection refused" "$norn" doctor --site "$dir/guest" --quick
hport=$(grep '^listen' "$dir/host/norn.conf" | grep -o '[0-9]*$')
python3 -c 'import socket, sys, time
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(("127.0.0.1", int(sys.argv[1]))); s.listen(); time.sleep(30)' "$hport" &
mute=$!
check "the guest stops, too" "$norn" site stop "$dir/guest"
check "something else listens there" until_ok bash -c "</dev/tcp/127.0.0.1/$hport"
refuses "who listens there is no norn" 13 "does not speak TLS" "$norn" doctor --site "$dir/guest"
kill $mute; wait $mute 2>/dev/null
"$norn" ca init "$dir/ca2" --name other >/dev/null
cp "$dir/ca2/ca.crt" "$dir/guest/keys/ca.crt"
refuses "another federation's CA" 13 "chain" "$norn" doctor --site "$dir/guest"
cp "$dir/ca/ca.crt" "$dir/guest/keys/ca.crt"
dd if=/dev/urandom of="$dir/guest/jobs.db" bs=1k seek=5 count=3 conv=notrunc >/dev/null 2>&1
"$norn" doctor --site "$dir/guest" --json >"$dir/doctor.json" 2>&1
check "a damaged database" eval 'json "[c[\"verdict\"] for c in d[\"checks\"] if c[\"check\"] == \"job database\"]" <"$dir/doctor.json" | grep -q fail'
echo "1..$n"
echo "# $((n - bad)) passed, $bad failed"
[ $bad = 0 ]
