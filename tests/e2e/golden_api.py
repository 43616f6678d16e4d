"""Every recorded answer of a real FATE 1.11.4 held against norn's after the same job: status, keys, types, order, values.

usage: golden_api.py GOLDEN_DIR GUEST_PORT HOST_PORT JOB_ID; prints TAP. Exceptions stand in this file, each with its reason."""
import io
import json
import math
import re
import sys
import tarfile
import urllib.request
from pathlib import Path

golden, ports, job = Path(sys.argv[1]), {"guest": sys.argv[2], "host": sys.argv[3]}, sys.argv[4]
OLD_JOB = "202611232010288616730"

# Values that depend on time, host, process or randomness, by the key's name: only the type is compared.
VOLATILE = re.compile(r"(_time|_date|^f_elapsed|^elapsed|_pid|_port|_ip|^f_cmd|^cmd|worker_id|^jobId|^f_cores|^cores|remaining_cores|"
                      r"_signal|^f_cancel|cancel_|table_name|f_size|adaptation_parameters|computing_partitions|^partition|"
                      r"cores_per_node|timestamp|instance_id|host|path|python|f_kill_status)$")
# Where norn differs, and why. Keys are regular expressions over "<file>:<path>".
WHY = {
    r"^(job_list_job|job_list_task|data_upload_history|resource_query):": "other jobs and uploads ran on the recorded server",
    r"f_runtime_conf.*\.(conf_path|dsl_path)$|runtime_conf\.(conf_path|dsl_path)$|ComponentParameters?\.(conf|dsl)_path$|"
    r"f_component_parameters\.(conf_path|dsl_path)$|f_train_runtime_conf\.(conf|dsl)_path$":
        "the recorded job was submitted by the CLI, which sends its own file paths along",
    r"_user_feeded_params": "FATE prints a Python set: no order",
    r"class_path": "Python classes of FATE's provider",
    r"provider_info\.(env|norn)|provider_get:.*\.norn": "Python's environment; norn's own version stands beside FATE's",
    r"^component_get:|^provider_get:.*components": "components that norn does not have yet are not listed",
    r"reader_0\.metric_all.*(attribute_info|anonymous_info|table_info|partitions)":
        "norn tells the columns' kinds and anonymous names; texts are of the parsed numbers",
    r"^(guest|host)\.reader_0\.output_data|^table_preview:":
        "FATE keeps the uploaded text, norn the numbers: no trailing zeros",
    r"metrics:response\.data\.train\[": "norn lists metric names in order of name, FATE in order of arrival",
    r"^job_query:response\.data$": "the host's row is the host site's: two sites, not one server",
    r"^model_query:response\.data$": "the host's model is the host site's",
    r"summary:response\.data\.(encrypt|bytes)$": "norn says how numbers were hidden, and bytes on the wire",
    r"^server_fateflow_info:": "the server's address",
    r"^submit_(bad_module|empty):response\.retmsg": "FATE answers with a stack trace",
    r"job_stop_done|f_cancel": "the recorded job was told to stop after its end; its row shows the signal",
    r"runtime_conf_on_party": "FATE keeps the conf as its scheduler completed it",
    r"hetero_secure_boost_0\.output_model:.*importance2|\.trees\[\d+\]\.tree\[\d+\]\.weight":
        "gains are sums of floats: equal to 1e-6",
    r"splitMaskdict|featureImportances": "masks and ties between equal counts",
    r"(feature_importance\.host_10000_x1[02]|trees\[1\]\.tree\[3\]\.fid)$":
        "two features of the host split those rows alike, at the same gain: either is the best",
}
count = failed = 0
unused = dict.fromkeys(WHY, 0)


def excused(where):
    for pattern in WHY:
        if re.search(pattern, where):
            unused[pattern] += 1
            return True
    return False


def kind(v):
    return "number" if isinstance(v, (int, float)) and not isinstance(v, bool) else type(v).__name__


def same(a, b):
    if kind(a) == "number" and kind(b) == "number":
        return math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-9)
    if isinstance(a, str) and isinstance(b, str) and a[:2] == "\"{" == b[:2]:  # predict_detail: floats in a text
        x, y = (re.findall(r"\d[\d.e-]*", t) for t in (a, b))
        return re.sub(r"\d[\d.e-]*", "", a) == re.sub(r"\d[\d.e-]*", "", b) and all(same(float(p), float(q)) for p, q in zip(x, y))
    return a == b or (isinstance(a, str) and isinstance(b, str) and a.replace(OLD_JOB, job) == b)


def compare(want, got, where, out):
    key = re.sub(r"\[\d+\]$", "", where).rsplit(".", 1)[-1]
    if isinstance(want, list) and VOLATILE.search(key):
        return
    if kind(want) != kind(got):
        if not excused(where):
            out.append(f"{where}: {kind(got)} {str(got)[:60]}, FATE has {kind(want)} {str(want)[:60]}")
    elif isinstance(want, dict):
        for k in want:
            if k not in got:
                if not excused(f"{where}.{k}"):
                    out.append(f"{where}: no key {k}")
            else:
                compare(want[k], got[k], f"{where}.{k}", out)
        for k in got:
            if k not in want and not excused(f"{where}.{k}"):
                out.append(f"{where}: key {k} that FATE has not")
    elif isinstance(want, list):
        if len(want) != len(got) and not excused(where):
            out.append(f"{where}: {len(got)} elements, FATE has {len(want)}")
        for i, (a, b) in enumerate(zip(want, got)):
            compare(a, b, f"{where}[{i}]", out)
    elif not same(want, got) and not VOLATILE.search(key) and not excused(where):
        out.append(f"{where}: {str(got)[:80]}, FATE has {str(want)[:80]}")


def ask(request):
    body = json.loads(json.dumps(request["json"]).replace(OLD_JOB, job))
    port = ports.get(body.get("role"), ports["guest"]) if isinstance(body, dict) else ports["guest"]
    r = urllib.request.Request(f"http://127.0.0.1:{port}{request['path']}", json.dumps(body).encode(),
                               {"Content-Type": "application/json"}, method=request["method"])
    try:
        answer = urllib.request.urlopen(r, timeout=60)
    except urllib.error.HTTPError as e:
        answer = e
    return answer.status, answer.headers, answer.read()


def check_tar(name, recorded, data, out):
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        members = {m.name: tar.extractfile(m).read().decode() for m in tar.getmembers()}
    if list(members) != [m["name"] for m in recorded["tar"]]:
        out.append(f"members {list(members)}")
    for m in recorded["tar"]:
        text = members.get(m["name"], "")
        if m["name"].endswith(".csv"):
            want, have = m["head"].splitlines(), text.splitlines()
            if m["size"] > len(m["head"]):  # the recording holds its beginning
                want, have = want[:-1], have[:len(want) - 1]
            compare(want[0], have[0] if have else "", f"{name}:header", out)
            if len(have) != len(want):
                out.append(f"{m['name']}: {len(have)} lines, FATE has {len(want)}")
            if not excused(f"{name}:rows"):
                for a, b in zip(want[1:], have[1:]):
                    if [same(float(x) if re.fullmatch(r"-?[\d.e-]+", x) else x, float(y) if re.fullmatch(r"-?[\d.e-]+", y) else y)
                            for x, y in zip(re.findall(r"[^,:{}'\" ]+", a), re.findall(r"[^,:{}'\" ]+", b))].count(False):
                        out.append(f"{m['name']}: {b}, FATE has {a}")
        elif text != m["head"]:
            out.append(f"{m['name']}: {text[:60]!r}, FATE has {m['head'][:60]!r}")


for file in sorted(golden.glob("*.json")):
    if file.name.startswith("_"):
        continue
    name = file.stem
    try:
        recorded = json.loads(file.read_text())
    except json.JSONDecodeError:
        print(f"# {name}: the recording was cut off at 60,000 characters: not compared")
        continue
    if isinstance(recorded.get("response"), str):
        print(f"# {name}: the recording was cut off: not compared")
        continue
    out = []
    status, headers, data = ask(recorded["request"])
    if status != recorded["status"]:
        out.append(f"status {status}, FATE has {recorded['status']}")
    if headers.get("Content-Type") != recorded["content_type"]:
        out.append(f"content type {headers.get('Content-Type')}, FATE has {recorded['content_type']}")
    if "tar" in recorded and status == 200:
        disposition = recorded["content_disposition"].replace(OLD_JOB, job)
        if headers.get("Content-Disposition") != disposition:
            out.append(f"{headers.get('Content-Disposition')}, FATE has {disposition}")
        check_tar(name, recorded, data, out)
    elif "response" in recorded:
        compare(recorded["response"], json.loads(data), f"{name}:response", out)
    count += 1
    failed += bool(out)
    print(f"{'not ok' if out else 'ok'} {count} - {name}")
    for line in out[:12]:
        print(f"#   {line}")
for pattern, used in unused.items():
    if not used:
        print(f"# no exception was needed for {pattern}")
print(f"1..{count}")
sys.exit(failed > 0)
