#!/bin/bash
# The job of ../shared/golden/hetero_secureboost on two sites through the HTTP API, then each recorded answer held against norn's.
# usage: golden_api.sh NORN; prints TAP.
set -euo pipefail
NORN=$(realpath "$1")
cd "$(dirname "$0")/../.."
shared=${NORN_SHARED:-../shared}
golden=$shared/golden/hetero_secureboost
[ -d "$golden" ] || { echo "1..0 # SKIP no shared data"; exit 0; }
HTTP_GUEST=127.0.0.1:0 HTTP_HOST=127.0.0.1:0 HTTP_AUTH=off
. bench/sites.sh
sites_start >/dev/null
port() { grep -o '"HTTP API runs".*"port":[0-9]*' "$dir/$1/logs/site.log" | grep -o '[0-9]*$' | tail -1; }
job=$(python3 - "$shared" "$(port guest)" "$(port host)" <<'P'
import json, sys, time, urllib.parse, urllib.request
shared, guest, host = sys.argv[1:4]
def post(port, target, body, kind="application/json"):
    r = urllib.request.Request(f"http://127.0.0.1:{port}/v1/{target}", body, {"Content-Type": kind})
    return json.load(urllib.request.urlopen(r, timeout=60))
def wait(port, job, role):
    while True:
        rows = post(port, "job/query", json.dumps({"job_id": job, "role": role}).encode())["data"]
        if rows[0]["f_status"] not in ("waiting", "running"):
            return rows[0]["f_status"]
        time.sleep(0.1)
for port, side in ((guest, "guest"), (host, "host")):
    conf = {"file": f"breast_hetero_{side}.csv", "table_name": f"breast_hetero_{side}", "namespace": "experiment", "head": 1,
            "partition": 4, "id_delimiter": ","}
    text = open(f"{shared}/data/breast_hetero_{side}.csv").read()
    body = f'--boundary\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n{text}\r\n--boundary--\r\n'.encode()
    answer = post(port, "data/upload?" + urllib.parse.quote(json.dumps(conf)), body, "multipart/form-data; boundary=boundary")
    assert wait(port, answer["jobId"], "local") == "success", answer
folder = f"{shared}/golden/hetero_secureboost"
answer = post(guest, "job/submit", json.dumps({"job_dsl": json.load(open(f"{folder}/_dsl.json")),
                                                "job_runtime_conf": json.load(open(f"{folder}/_conf.json"))}).encode())
assert answer["retcode"] == 0, answer
assert wait(guest, answer["jobId"], "guest") == "success"
wait(host, answer["jobId"], "host")
print(answer["jobId"])
P
)
python3 tests/e2e/golden_api.py "$golden" "$(port guest)" "$(port host)" "$job"
