"""Who may do what over HTTP, and what hostile requests get: against one site with authentication on. Prints TAP.

usage: http_api.py PORT APP_KEY SECRET TOKEN VIEWER_TOKEN SITE_DIR SEED"""
import base64
import hashlib
import hmac
import json
import os
import random
import socket
import sys
import time
import urllib.error
import urllib.request
import uuid

port, app_key, secret, token, viewer, site, seed = sys.argv[1:8]
count = failed = 0


def check(what, ok, detail=""):
    global count, failed
    count += 1
    failed += not ok
    print(f"{'ok' if ok else 'not ok'} {count} - {what}" + ("" if ok else f"\n#   {detail}"), flush=True)


def send(path, body=b"", headers=None, method="POST"):
    r = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, headers or {}, method=method)
    try:
        a = urllib.request.urlopen(r, timeout=30)
    except urllib.error.HTTPError as e:
        a = e
    data = a.read()
    try:
        return a.status, json.loads(data)
    except ValueError:
        return a.status, data


def bearer(t):
    return {"Authorization": f"Bearer {t}"}


def sign(path, body, stamp=None, nonce=None, key=None, sec=None):
    stamp, nonce, key = stamp or str(round(time.time() * 1000)), nonce or str(uuid.uuid1()), key or app_key
    text = b"\n".join([stamp.encode(), nonce.encode(), key.encode(), path.encode(), body, b""])
    mac = base64.b64encode(hmac.new((sec or secret).encode(), text, "sha1").digest()).decode()
    return {"TIMESTAMP": stamp, "NONCE": nonce, "APP_KEY": key, "SIGNATURE": mac}


def refused(what, status_answer, code, text):
    status, a = status_answer
    check(what, isinstance(a, dict) and a.get("retcode") == code and text in a.get("retmsg", ""), str(status_answer)[:300])


path, body = "/v1/job/query", b'{"job_id": "none"}'
headers = sign(path, body)
check("a signed request", send(path, body, headers)[1].get("retcode") == 0)
refused("the same again", send(path, body, headers), 109, "NONCE")
refused("another body under a signature", send(path, b'{"job_id": "x"}', sign(path, body)), 109, "signature")
refused("another target under a signature", send("/v1/job/query/", body, sign(path, body)), 109, "signature")
refused("a wrong secret", send(path, body, sign(path, body, sec="0" * 64)), 109, "signature")
refused("an unknown key", send(path, body, sign(path, body, key="f" * 16)), 109, "APP_KEY")
refused("an old timestamp", send(path, body, sign(path, body, stamp=str(round(time.time() * 1000) - 61000))), 109, "TIMESTAMP")
refused("no credentials", send(path, body), 109, "authentication needs")
refused("a wrong token", send(path, body, bearer("nt_" + "0" * 64)), 109, "token")
check("the version without credentials", send("/v1/version/get", b"")[1]["data"]["FATE"] == "1.11.4")
refused("a viewer who submits", send("/v1/job/submit", b"{}", bearer(viewer)), 108, "viewer")
refused("a viewer who deletes a table", send("/v1/table/delete", b"{}", bearer(viewer)), 108, "viewer")
check("a viewer who reads", send("/v1/job/list/job", b'{"limit": 1}', bearer(viewer))[1].get("retcode") == 0)

# What a request names never leads out of its folder.
admin = bearer(token)
for where in ("/etc/passwd", "../../etc/passwd", "files/../../x", f"{site}/files/../norn.conf", "a/../../../b", "..", "."):
    _, a = send("/v1/data/download", json.dumps({"table_name": "t", "namespace": "n", "output_path": where}).encode(), admin)
    _, b = send("/v1/data/upload", json.dumps({"use_local_data": 0, "file": where, "table_name": "t", "namespace": "n", "head": 1,
                                               "partition": 1}).encode(), admin)
    check(f"no file outside of files/: {where}", a["retcode"] != 0 and b["retcode"] != 0, str((a, b)))
for name in ("../x", "a/b", "", ".", "x\u0000y", "a" * 300):
    a = send("/v1/log/cat", json.dumps({"job_id": name, "role": "guest", "party_id": 1, "component_name": name}).encode(), admin)[1]
    b = send("/v1/job/log/download", json.dumps({"job_id": name}).encode(), admin)
    check(f"no log of {name[:10]!r}", isinstance(a, dict) and a["retcode"] != 0 and b[0] in (404, 200) and isinstance(b[1], dict) and b[1]["retcode"] != 0,
          str((a, b))[:300])
check("a file name is no path", send("/v1/job/dsl/generate", json.dumps({"train_dsl": '{"components": {"a_0": {"module": "Reader"}}}', "cpn_str": "a_0",
      "filename": "../../x\r\nSet-Cookie: a=b"}).encode(), admin)[1]["retcode"] != 0)

# Ten submits at once, answers within their time; nothing but answers to nonsense.
rng = random.Random(int(seed))
routes = sorted(send("/v1/openapi.json", b"", admin)[1]["paths"])
check(f"{len(routes)} routes are described", len(routes) > 100)
odd = [None, True, 0, -1, 2**63, 1e308, "", "x", "\u0000", "../..", "guest", "9999", [], {}, [[]], {"a": {"b": []}}, "9" * 400, "%s%n", "'; DROP TABLE jobs"]
keys = ["job_id", "role", "party_id", "component_name", "table_name", "name", "namespace", "model_id", "model_version", "limit", "page", "order_by",
        "order", "job_dsl", "job_runtime_conf", "cpn_list", "predict_dsl", "train_dsl", "cpn_str", "tag_name", "component", "dataset", "key", "engine",
        "address", "filename", "query_filters", "job_parameters", "component_parameters", "status", "partner", "initiator", "module", "metric_name",
        "metric_namespace", "output_path", "begin", "end", "connector_name", "connector_info", "service_id", "components_checkpoint", "notes"]
bad = []
for route in routes:
    if route == "/v1/server/reload":
        continue
    for k in range(12):
        b = json.dumps({key: rng.choice(odd) for key in rng.sample(keys, rng.randrange(0, 24))}).encode() if k else rng.choice(
            [b"", b"{", b"[1]", b"null", b"\xff\xfe", b'{"a":' * 100, b'{"job_id": 1, "job_id": 2}'])
        try:
            status, a = send(route.replace("{name}", rng.choice(["x", "%2e%2e", "fate"])), b, admin, rng.choice(["GET", "POST"]))
            if status >= 500 or (isinstance(a, dict) and "retcode" not in a and "openapi" not in a and "components" not in a):
                bad.append((route, b[:80], status, str(a)[:120]))
        except Exception as e:  # a dropped connection is a crash
            bad.append((route, b[:80], repr(e)))
check("nonsense to every route is answered, never with 5xx", not bad, str(bad[:4]))
for what, raw in (("half a request", b"POST /v1/job/query HTTP/1.1\r\nContent-Le"), ("no HTTP", b"\x16\x03\x01" * 50),
                  ("a chunked lie", b"POST /v1/job/query HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
                  ("two lengths", b"POST /v1/job/query HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
                  ("a broken form", b"POST /v1/data/upload HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=q\r\nContent-Length: 9\r\n\r\n--q--q--q"),
                  ("a long target", b"GET /v1/" + b"a" * 300000 + b" HTTP/1.1\r\n\r\n")):
    s = socket.create_connection(("127.0.0.1", int(port)), timeout=10)
    try:
        s.sendall(raw)
        s.settimeout(0.3)
        s.recv(1000)
    except OSError:
        pass
    s.close()
    check(f"{what} harms nobody", send("/v1/version/get", b"")[0] in (200, 429))  # put off by now, for want of credentials
slow = time.time()
conns = [socket.create_connection(("127.0.0.1", int(port))) for _ in range(200)]
check("200 idle connections hold up nobody", send("/v1/version/get", b"")[0] in (200, 429) and time.time() - slow < 5)
for c in conns:
    c.close()
for _ in range(12):
    send(path, body, bearer("nt_x"))
refused("after ten failures the address is put off", send(path, body, sign(path, body)), 429, "wait")
lines = open(os.path.join(site, "logs/audit.log")).read()
check("the audit log names key, route and result, and no secret", '"result":"not allowed"' in lines and '"route":"job/submit"' in lines and app_key in lines
      and secret not in lines and token not in lines)
print(f"1..{count}")
sys.exit(failed > 0)
