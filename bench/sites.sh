# sites.sh - sourced by benches and end-to-end tests: two sites on loopback in $dir. Wants NORN; makes and removes $dir.
# Party 9999 is the guest ($dir/guest), 10000 the host ($dir/host).
norn=$(realpath "${NORN:-build/norn}")
dir=$(mktemp -d "${TMPDIR:-/tmp}/norn-sites-XXXXXX")
sites_free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
sites_stop() { for s in "$dir"/*/norn.conf; do [ ! -f "$s" ] || "$norn" site stop "$(dirname "$s")" >/dev/null 2>&1 || true; done; }
sites_clean() { sites_stop; [ -n "${KEEP:-}" ] || rm -rf "$dir"; }
trap sites_clean EXIT
sites_start() { # options of `norn site run` for both
    local g h
    g=$(sites_free_port) h=$(sites_free_port)
    "$norn" ca init "$dir/ca" --name bench >/dev/null
    "$norn" site init "$dir/guest" --party 9999 --listen "127.0.0.1:$g" --http "${HTTP_GUEST:-none}" --auth "${HTTP_AUTH:-on}" --peer "10000=127.0.0.1:$h" --ca "$dir/ca" >/dev/null
    "$norn" site init "$dir/host" --party 10000 --listen "127.0.0.1:$h" --http "${HTTP_HOST:-none}" --auth "${HTTP_AUTH:-on}" --peer "9999=127.0.0.1:$g" --ca "$dir/ca" >/dev/null
    "$norn" site run "$dir/guest" "$@" >/dev/null
    "$norn" site run "$dir/host" "$@" >/dev/null
    for _ in $(seq 200); do
        "$norn" site status "$dir/guest" | grep -q '^  party .* up ' && return 0
        sleep 0.05
    done
    echo "the sites did not find each other" >&2
    return 1
}
upload() { "$norn" upload --site "$dir/$1" "$2" --table "$3" "${@:4}" >/dev/null; } # SITE FILE TABLE
# The job of two JSON files to its end; its record goes to $dir/job.json.
run_job() { "$norn" job submit --site "$dir/guest" --dsl "$1" --conf "$2" --wait --json >"$dir/job.json" || { cat "$dir/job.json" >&2; return 1; }; }
job_field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$dir/job.json" "$1"; }
# Seconds of a component at the guest in the job of $dir/job.json.
task_seconds() {
    python3 - "$dir/job.json" "$1" <<'P'
import json, sys
job = json.load(open(sys.argv[1]))
t = [t for t in job["tasks"] if t["component"] == sys.argv[2] and t["role"] == "guest"][-1]
print((t["ended_ms"] - t["started_ms"]) / 1000)
P
}
task_bytes() { # COMPONENT ROLE: payload bytes that it sent
    python3 - "$dir/job.json" "$1" "$2" <<'P'
import json, sys
job = json.load(open(sys.argv[1]))
print(sum(t["sent"] for t in job["tasks"] if t["component"] == sys.argv[2] and t["role"] == sys.argv[3]))
P
}
median() { printf '%s\n' "$@" | sort -g | awk '{ a[NR] = $1 } END { print NR % 2 ? a[(NR + 1) / 2] : (a[NR / 2] + a[NR / 2 + 1]) / 2 }'; }
# figure BENCH FIGURE VALUE UNIT PEER PEER_VALUE: one line; a peer "" is none
figure() {
    python3 - "$@" <<'P'
import json, sys
bench, name, value, unit, peer, peer_value = sys.argv[1:7]
value = float(value)
line = {"bench": bench, "figure": name, "value": value, "unit": unit, "peer": peer or None,
        "peer_value": float(peer_value) if peer else None,
        "ratio": round(value / float(peer_value), 4) if peer and float(peer_value) else None}
print(json.dumps(line))
P
}
