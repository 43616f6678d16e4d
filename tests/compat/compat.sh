#!/bin/bash
# FATE's own clients, unmodified from PyPI, against two norn sites with authentication on: the pipeline SDK and every flow
# subcommand. usage: compat.sh NORN VENV_DIR [--table]; prints TAP. Skipped where PyPI cannot be reached and VENV_DIR is not there.
set -euo pipefail
NORN=$(realpath "$1") venv=$2
cd "$(dirname "$0")/../.."
shared=$(realpath "${NORN_SHARED:-../shared}")
[ -d "$shared/data" ] || { echo "1..0 # SKIP no shared data"; exit 0; }
if [ ! -x "$venv/bin/flow" ]; then
    python3.11 -m venv "$venv" 2>/dev/null || python3 -m venv "$venv"
    "$venv/bin/pip" install -q "fate-client==1.11.3" "urllib3<2" "pandas<2.2" "setuptools<81" >&2 ||
        { echo "1..0 # SKIP fate-client 1.11.3 could not be installed"; exit 0; }
fi
venv=$(realpath "$venv")
HTTP_GUEST=127.0.0.1:0 HTTP_HOST=127.0.0.1:0 HTTP_AUTH=on
. bench/sites.sh
sites_start --set permissions=on >/dev/null
port() { grep -o '"HTTP API runs".*"port":[0-9]*' "$dir/$1/logs/site.log" | grep -o '[0-9]*$' | tail -1; }
export HOME=$dir/home
mkdir -p "$HOME"
clients() { # SITE: FATE's clients talk to it, with a modeller's or the admin's key
    local key secret
    read -r key secret < <("$norn" key add --site "$dir/$1" tests --role admin --json |
        python3 -c 'import json, sys; k = json.load(sys.stdin); print(k["app_key"], k["secret_key"])')
    "$venv/bin/pipeline" init --ip 127.0.0.1 --port "$(port "$1")" --app-key "$key" --secret-key "$secret" >/dev/null 2>&1
    (cd "$HOME" && "$venv/bin/flow" init --ip 127.0.0.1 --port "$(port "$1")" --app-key "$key" --secret-key "$secret" >/dev/null 2>&1)
}
bad=0
clients host
cat >"$dir/grant.json" <<'G'
{"party_id": 9999, "component": "*", "dataset": "*"}
G
grant() { (cd "$HOME" && "$venv/bin/flow" privilege "$1" -c "$dir/grant.json") >"$dir/grant.log" 2>&1; grep -q "\"retcode\": 0" "$dir/grant.log" || { cat "$dir/grant.log" >&2; return 1; }; }
grant grant
(cd "$HOME" && "$venv/bin/python" "$OLDPWD/tests/compat/pipeline_sbt.py" upload "$shared/data/breast_hetero_mini_host.csv" mini_host >"$dir/host.log" 2>&1) ||
    { cat "$dir/host.log" >&2; exit 1; }
clients guest
"$venv/bin/pipeline" config check 2>/dev/null | grep -q "status normal, Flow version: 1.11.2" || { echo "pipeline config check failed" >&2; exit 1; }
(cd "$HOME" && "$venv/bin/python" "$OLDPWD/tests/compat/pipeline_sbt.py" upload "$shared/data/breast_hetero_mini_guest.csv" mini_guest >"$dir/guest.log" 2>&1) ||
    { cat "$dir/guest.log" >&2; exit 1; }
[ "${3:-}" = --table ] || echo "# the pipeline SDK"
(cd "$HOME" && "$venv/bin/python" "$OLDPWD/tests/compat/pipeline_sbt.py" fit "$HOME" 2>"$dir/sdk.log") >"$dir/sdk.tap" || bad=1
[ "${3:-}" = --table ] || grep -E '^(ok|not ok|#)' "$dir/sdk.tap" | sed 's/^\(ok\|not ok\) [0-9]* -/\1 - SDK:/' || true
[ $bad = 0 ] || tail -20 "$dir/sdk.log" >&2
python3 tests/compat/flow_cli.py "$venv/bin/flow" "$dir/guest" "$shared/data" "$HOME" ${3:-} >"$dir/cli.tap" || bad=1
[ "${3:-}" = --table ] && cat "$dir/cli.tap" || grep -E '^(ok|not ok|#)' "$dir/cli.tap" | sed 's/^\(ok\|not ok\) [0-9]* -/\1 -/'
[ "${3:-}" = --table ] || echo "1..$(($(grep -cE '^(ok|not ok)' "$dir/sdk.tap") + $(grep -cE '^(ok|not ok)' "$dir/cli.tap")))"
exit $bad
