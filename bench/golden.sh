#!/bin/bash
# golden.sh - the job whose answers were recorded from a real FATE 1.11.4 (breast, 3 trees, depth 3), between two sites on
# loopback: seconds from submit to success. The recorded job took 53 s there on a quiet machine.
# usage: bench/golden.sh [--runs 5] [--method Lattice|Paillier] [--json]     wants ../shared/golden and ../shared/data
set -euo pipefail
cd "$(dirname "$0")/.."
runs=5 method=Lattice shared=${NORN_SHARED:-../shared}
while [ $# -gt 0 ]; do
    case $1 in
    --runs) runs=$2; shift 2 ;;
    --method) method=$2; shift 2 ;;
    --json) shift ;;
    *) echo "usage: bench/golden.sh [--runs N] [--method NAME] [--json]" >&2; exit 2 ;;
    esac
done
[ -d "$shared/golden" ] || { echo "golden.sh: no $shared/golden: the recorded answers are not part of the project" >&2; exit 2; }
. bench/sites.sh
sites_start
upload guest "$shared/data/breast_hetero_guest.csv" experiment/breast_hetero_guest
upload host "$shared/data/breast_hetero_host.csv" experiment/breast_hetero_host
python3 - "$shared/golden/hetero_secureboost/_conf.json" "$dir/conf.json" "$method" <<'P'
import json, sys
c = json.load(open(sys.argv[1]))
c["component_parameters"]["common"]["hetero_secure_boost_0"]["encrypt_param"] = {"method": sys.argv[3], "key_length": 2048}
json.dump(c, open(sys.argv[2], "w"))
P
s=()
for _ in $(seq "$runs"); do
    run_job "$shared/golden/hetero_secureboost/_dsl.json" "$dir/conf.json"
    s+=("$(job_field seconds)")
done
figure golden submit_to_success "$(median "${s[@]}")" s FATE-1.11.4-recorded 53
"$norn" job summary --site "$dir/guest" "$(job_field job)" hetero_secure_boost_0 --json | python3 -c '
import json, sys
s = json.load(sys.stdin)
s = s.get("summary", s)
for i, (ours, theirs) in enumerate(zip(s["loss_history"], [0.4722, 0.3409, 0.2537])):
    print(json.dumps({"bench": "golden", "figure": f"loss_{i}", "value": ours, "unit": "", "peer": "FATE-1.11.4", "peer_value": theirs, "ratio": round(ours / theirs, 4)}))'
