#!/bin/bash
# toy.sh - the toy job (SecureAddExample) between two sites on loopback: seconds from submit to success.
# usage: bench/toy.sh [--runs 11] [--json]      NORN=build/norn
set -euo pipefail
cd "$(dirname "$0")/.."
runs=11
while [ $# -gt 0 ]; do case $1 in --runs) runs=$2; shift 2 ;; --json) shift ;; *) echo "usage: bench/toy.sh [--runs N] [--json]" >&2; exit 2 ;; esac; done
. bench/sites.sh
sites_start
cat >"$dir/dsl.json" <<'J'
{"components":{"secure_add_example_0":{"module":"SecureAddExample"}}}
J
cat >"$dir/conf.json" <<'J'
{"dsl_version":2,"initiator":{"role":"guest","party_id":9999},"role":{"guest":[9999],"host":[10000]},
 "job_parameters":{"common":{"job_type":"train"}},"component_parameters":{"common":{"secure_add_example_0":{"data_num":1000}}}}
J
s=()
for _ in $(seq "$runs"); do
    run_job "$dir/dsl.json" "$dir/conf.json"
    s+=("$(job_field seconds)")
done
figure toy submit_to_success "$(median "${s[@]}")" s "" 0
