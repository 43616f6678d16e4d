#!/bin/bash
# The HTTP API's refusals and what hostile requests get. usage: http_api.sh NORN; prints TAP.
set -euo pipefail
norn=$(realpath "$1") seed=${TEST_SEED:-1}
cd "$(dirname "$0")/../.."
dir=$(mktemp -d "${TMPDIR:-/tmp}/norn-http-XXXXXX")
trap '"$norn" site stop "$dir/site" >/dev/null 2>&1 || true; [ -n "${KEEP:-}" ] || rm -rf "$dir"' EXIT
"$norn" ca init "$dir/ca" --name t >/dev/null
key() { python3 -c 'import json, sys; k = json.load(sys.stdin); k = k.get("key", k); print(k["app_key"], k["secret_key"], k["token"])'; }
read -r app secret token < <("$norn" site init "$dir/site" --party 9999 --listen 127.0.0.1:0 --http 127.0.0.1:0 --ca "$dir/ca" --json | key)
read -r _ _ viewer < <("$norn" key add --site "$dir/site" watcher --role viewer --json | key)
port=$("$norn" site run "$dir/site" --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["http_port"])')
python3 tests/e2e/http_api.py "$port" "$app" "$secret" "$token" "$viewer" "$dir/site" "$seed" || { tail -5 "$dir/site/logs/site.log" >&2; exit 1; }
"$norn" site stop "$dir/site" >/dev/null
