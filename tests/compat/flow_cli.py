"""Every subcommand of FATE's `flow` CLI once, for real, against two norn sites; prints TAP, and with --table the table of
docs/compatibility.md.

usage: flow_cli.py FLOW SITE_DIR DATA_DIR FOLDER [--table]. `flow init` was run; the tables mini_guest and mini_host are there."""
import json
import os
import subprocess
import sys
import time

flow, site, data, folder = sys.argv[1:5]
table = "--table" in sys.argv
env = dict(os.environ, HOME=folder)
rows, failed = [], 0
os.makedirs(f"{site}/files", exist_ok=True)


def conf(name, content):
    path = f"{folder}/{name}.json"
    json.dump(content, open(path, "w"))
    return path


def run(command, *args, want=0, note="", says=""):
    """want: the retcode expected; None: the command prints no JSON and must end with exit code 0."""
    global failed
    r = subprocess.run([flow, *command.split(), *map(str, args)], env=env, cwd=folder, capture_output=True, text=True, timeout=180)
    text = r.stdout[r.stdout.find("{"):] if "{" in r.stdout else ""
    try:
        answer = json.JSONDecoder().raw_decode(text)[0] if text else None
    except json.JSONDecodeError:
        answer = None
    got = answer.get("retcode") if answer else None
    ok = r.returncode == 0 and got == want if want is not None else r.returncode == 0
    ok = ok and says in r.stdout
    failed += not ok
    rows.append((command, got, note))
    if not table:
        print(f"{'ok' if ok else 'not ok'} {len(rows)} - flow {command}" + (f": {note}" if note else ""), flush=True)
        if not ok:
            print("#   want", want, "got", got, (r.stdout + r.stderr)[-700:].replace("\n", "\n#   "))
    return answer or {}


def wait(job, role="guest"):
    for _ in range(600):
        a = subprocess.run([flow, "job", "query", "-j", job, "-r", role], env=env, cwd=folder, capture_output=True, text=True).stdout
        d = json.JSONDecoder().raw_decode(a[a.find("{"):])[0]["data"]
        if d and d[0]["f_status"] not in ("waiting", "running"):
            return d[0]["f_status"]
        time.sleep(0.3)
    return "none"


DSL = {"components": {
    "reader_0": {"module": "Reader", "output": {"data": ["data"]}},
    "data_transform_0": {"module": "DataTransform", "input": {"data": {"data": ["reader_0.data"]}},
                         "output": {"data": ["data"], "model": ["model"]}},
    "intersection_0": {"module": "Intersection", "input": {"data": {"data": ["data_transform_0.data"]}}, "output": {"data": ["data"]}},
    "hetero_secure_boost_0": {"module": "HeteroSecureBoost", "input": {"data": {"train_data": ["intersection_0.data"]}},
                              "output": {"data": ["data"], "model": ["model"]}},
    "evaluation_0": {"module": "Evaluation", "input": {"data": {"data": ["hetero_secure_boost_0.data"]}}, "output": {"data": ["data"]}}}}
CONF = {"dsl_version": 2, "initiator": {"role": "guest", "party_id": 9999}, "role": {"guest": [9999], "host": [10000]},
        "component_parameters": {
            "common": {"hetero_secure_boost_0": {"task_type": "classification", "objective_param": {"objective": "cross_entropy"},
                                                 "num_trees": 2, "encrypt_param": {"method": "Paillier", "key_length": 1024},
                                                 "tree_param": {"max_depth": 2}},
                       "evaluation_0": {"eval_type": "binary"}},
            "role": {"guest": {"0": {"reader_0": {"table": {"name": "mini_guest", "namespace": "experiment"}},
                                     "data_transform_0": {"with_label": True}}},
                     "host": {"0": {"reader_0": {"table": {"name": "mini_host", "namespace": "experiment"}},
                                    "data_transform_0": {"with_label": False}}}}}}
BROKEN = json.loads(json.dumps(CONF))
BROKEN["component_parameters"]["role"]["guest"]["0"]["reader_0"]["table"]["name"] = "nothing"

up = {"file": f"{data}/breast_hetero_mini_guest.csv", "head": 1, "partition": 4, "table_name": "cli_guest", "namespace": "cli",
      "id_delimiter": ","}
job = run("data upload", "-c", conf("up", up), "--drop").get("jobId")
assert wait(job, "local") == "success"
run("data upload-history", "-l", 2)
run("data download", "-c", conf("down", {"output_path": f"{os.path.abspath(site)}/files/out.csv", "table_name": "cli_guest", "namespace": "cli"}),
    note="writes under the site's folder files/")
run("data writer", "-c", conf("writer", {"table_name": "cli_guest", "namespace": "cli", "output_name": "copy", "output_namespace": "cli"}),
    note="a copy in norn's own store")
run("table info", "-n", "cli", "-t", "cli_guest")
run("table disable", "-n", "cli", "-t", "cli_guest")
run("table enable", "-n", "cli", "-t", "cli_guest")
run("table add", "-c", conf("bind", {"engine": "PATH", "address": {"path": "/data/images"}, "namespace": "cli", "name": "images"}),
    want=100, note="refused: norn binds no outside storage yet")
run("table bind", "-c", f"{folder}/bind.json", want=100, note="refused: norn binds no outside storage yet")
run("table connector-create", "-c", conf("connector", {"connector_name": "c", "engine": "MYSQL", "connector_info": {"user": "u", "passwd": "p"}}))
run("table connector-query", "--connector-name", "c", note="passwords are not shown again")
run("table tracking-source", "-n", "cli", "-t", "cli_guest")
run("table tracking-job", "-n", "experiment", "-t", "mini_guest")
run("job submit", "-c", conf("broken", BROKEN), "-d", conf("dsl", DSL), want=103, note="a table that is not there: refused at once")
job = run("job submit", "-c", conf("conf", CONF), "-d", f"{folder}/dsl.json").get("jobId")
assert wait(job) == "success"
me = ("-j", job, "-r", "guest", "-p", 9999)
run("job query", *me)
run("job list", "-l", 3)
run("job view", *me)
run("job config", *me, "-o", folder)
run("job log", "-j", job, "-o", folder)
run("job dsl", "--train-dsl-path", f"{folder}/dsl.json", "--cpn-list", "data_transform_0,intersection_0,hetero_secure_boost_0")
run("job rerun", "-j", job, "--component-name", "evaluation_0", "--force", note="a named component of a job that succeeded")
assert wait(job) == "success"
run("job parameter-update", "-j", job, "-c",
    conf("update", {"component_parameters": {"common": {"hetero_secure_boost_0": {"num_trees": 1}}}}))
run("job stop", "-j", job)
run("task list", "-l", 2)
run("task query", "-j", job, "-r", "guest", "-cpn", "hetero_secure_boost_0")
boost = (*me, "-cpn", "hetero_secure_boost_0")
for group in ("component", "tracking"):
    run(f"{group} metrics", *boost)
    run(f"{group} metric-all", *boost)
    run(f"{group} parameters", *boost)
    run(f"{group} output-data", *boost, "-o", folder)
    run(f"{group} output-model", *boost)
    run(f"{group} output-data-table", *boost)
    run(f"{group} get-summary", *boost)
run("component list", "-j", job)
run("component metric-delete", "-j", job, want=100, note="metrics go with their job")
mid = "guest-9999#host-10000#model"
model = ("--model-id", mid, "--model-version", job)
run("component hetero-model-merge", *model, "--guest-party-id", 9999, "--host-party-ids", 10000, "-cpn", "hetero_secure_boost_0",
    "--model-type", "secureboost", "--output-format", "pmml", "-o", folder, want=100, note="not built yet")
run("component woe-array-extract", *model, "-r", "guest", "-p", 9999, "-cpn", "x_0", "-o", f"{folder}/w.json", want=100, note="not built yet")
open(f"{folder}/w.json", "w").write("{}")
run("component woe-array-merge", *model, "-r", "host", "-p", 10000, "-cpn", "x_0", "--input-path", f"{folder}/w.json", want=100, note="not built yet")
child = run("model deploy", *model, "--cpn-list", "data_transform_0,intersection_0,hetero_secure_boost_0").get("data", {}).get("model_version")
deployed = ("--model-id", mid, "--model-version", child)
run("model get-predict-dsl", *deployed, "-o", folder)
run("model get-predict-conf", *deployed, "-o", folder)
run("model get-model-info", *deployed, "-r", "guest", "-p", 9999)
parties = {"initiator": {"party_id": 9999, "role": "guest"}, "role": {"guest": [9999], "host": [10000]},
           "job_parameters": {"model_id": mid, "model_version": child}}
run("model load", "-c", conf("load", parties), want=101, note="no FATE-Serving: each party says so, as FATE's do")
run("model bind", "-c", conf("bindm", dict(parties, service_id="s", servings=["127.0.0.1:8000"])), want=100, note="no FATE-Serving")
key = {"model_id": mid, "model_version": child, "role": "guest", "party_id": 9999}
exported = run("model export", "-c", conf("export", dict(key, output_path=folder)))
archive = exported.get("file") or f"{folder}/guest#9999#{mid}_{child}.zip"
run("model import", "-c", conf("import", dict(key, file=archive, force_update=1)))
run("model migrate", "-c", conf("migrate", dict(parties, migrate_initiator={"role": "guest", "party_id": 99}, migrate_role={"guest": [99], "host": [100]},
    execute_party=parties["role"], model_id=mid, model_version=child)), want=100, note="not built yet")
run("model tag-model", "-j", job, "-t", "tagA")
run("model tag-list", "-j", job)
run("model homo-convert", "-c", conf("convert", key), want=100, note="not built yet")
run("model homo-deploy", "-c", conf("homo", dict(key, service_id="s", component_name="x_0", deployment_type="kfserving")), want=100, note="not built yet")
run("tag create", "-t", "t1", "-d", "a tag")
run("tag query", "-t", "t1")
run("tag update", "-t", "t1", "--new-tag-name", "t2", "--new-tag-desc", "b")
run("tag list", "-l", 10)
run("tag delete", "-t", "t2")
run("queue clean")
run("server versions")
run("server reload", note="settings hold until the next start; the answer says which")
run("service registry")
run("provider list")
run("provider register", "-c", conf("provider", {"name": "p", "version": "1", "path": "/x"}), want=100, note="components are compiled in")
run("provider list-components")
grant = conf("grant", {"party_id": 10000, "component": "reader", "dataset": {"namespace": "experiment", "name": "mini_guest"}})
run("privilege grant", "-c", grant, note="with permissions = on")
run("privilege query", "-p", 10000, note="with permissions = on")
run("privilege delete", "-c", grant, note="with permissions = on")
run("resource query")
run("resource return", "-j", job)
run("key save", "-c", conf("key", {"party_id": 10000, "key": "PEM"}))
run("key query", "-p", 10000)
run("key delete", "-p", 10000)
run("checkpoint list", "-r", "guest", "-p", 9999, *model, "-cpn", "hetero_secure_boost_0")
run("checkpoint get", "-r", "guest", "-p", 9999, *model, "-cpn", "hetero_secure_boost_0", "--step-index", 1, want=404, note="norn keeps no checkpoints of FATE's kind")
run("template download", "-o", folder)
run("table delete", "-n", "cli", "-t", "copy")
run("table disable", "-n", "cli", "-t", "cli_guest")
run("table disable-delete")
run("test toy", "-gid", 9999, "-hid", 10000, want=None, says="success to calculate secure_sum")
if table:
    print("| subcommand | retcode | |\n|---|---|---|")
    for command, got, note in rows:
        print(f"| `flow {command}` | {'' if got is None else got} | {note} |")
else:
    print(f"1..{len(rows)}")
sys.exit(failed > 0)
