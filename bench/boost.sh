#!/bin/bash
# boost.sh - HeteroSecureBoost between two sites on loopback, against XGBoost's hist on the joined columns in the clear, in
# one run: 10 trees, depth 5, 32 bins, learning rate 0.3. One JSON line a figure.
# usage: bench/boost.sh [--runs 3] [--no-paillier] [--json]      NORN=build/norn VENV=build/venv POOLED=build/tools/pooled
# Data: default_credit_hetero_{guest,host}.csv of ../shared/data, or of DATA; without it a generated population of its shape
# (30,000 rows, 13 + 10 columns).
set -euo pipefail
cd "$(dirname "$0")/.."
runs=3 paillier=1
while [ $# -gt 0 ]; do
    case $1 in
    --runs) runs=$2; shift 2 ;;
    --no-paillier) paillier=0; shift ;;
    --json) shift ;;
    *) echo "usage: bench/boost.sh [--runs N] [--no-paillier] [--json]" >&2; exit 2 ;;
    esac
done
venv=${VENV:-build/venv}
[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
"$venv/bin/python" -c 'import xgboost, pandas, sklearn' 2>/dev/null || "$venv/bin/pip" -q install xgboost pandas scikit-learn >&2
. bench/sites.sh
data=${DATA:-../shared/data}
if [ -f "$data/default_credit_hetero_guest.csv" ]; then
    guest=$data/default_credit_hetero_guest.csv host=$data/default_credit_hetero_host.csv name=default_credit
else
    "$norn" generate --out "$dir/data" --rows 30000 --guest-columns 13 --host-columns 10 --overlap 1 >/dev/null
    guest=$dir/data/guest.csv host=$dir/data/host.csv name=generated
fi
conf() { # METHOD TREES
    cat <<J
{"dsl_version":2,"initiator":{"role":"guest","party_id":9999},"role":{"guest":[9999],"host":[10000]},
 "component_parameters":{"common":{"intersection_0":{"intersect_method":"ecdh"},"evaluation_0":{"eval_type":"binary"},
 "hetero_secure_boost_0":{"task_type":"classification","objective_param":{"objective":"cross_entropy"},"num_trees":$2,
  "learning_rate":0.3,"bin_num":32,"tree_param":{"max_depth":5},"encrypt_param":{"method":"$1","key_length":2048}}},
 "role":{"guest":{"0":{"reader_0":{"table":{"namespace":"bench","name":"guest"}},"data_transform_0":{"with_label":true}}},
  "host":{"0":{"reader_0":{"table":{"namespace":"bench","name":"host"}},"data_transform_0":{"with_label":false}}}}}}
J
}
conf Lattice 10 >"$dir/lattice.json"
conf Paillier 2 >"$dir/paillier.json"
sites_start
upload guest "$guest" bench/guest
upload host "$host" bench/host
lattice=() peer=()
for _ in $(seq "$runs"); do
    run_job examples/breast/train_dsl.json "$dir/lattice.json"
    lattice+=("$(task_seconds hetero_secure_boost_0 | awk '{ print $1 / 10 }')")
    env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE "$venv/bin/python" bench/boost_peer.py "$guest" "$host" >"$dir/peer.json"
    peer+=("$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["s_per_tree"])' "$dir/peer.json")")
done
job=$(job_field job)
"$norn" job output --site "$dir/guest" "$job" hetero_secure_boost_0 --out "$dir/scores.csv" >/dev/null
auc=$("${POOLED:-build/tools/pooled}" --auc "$dir/scores.csv" | python3 -c 'import json, sys; print(json.load(sys.stdin)["auc"])')
peer_auc=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["auc"])' "$dir/peer.json")
pooled_auc=$("${POOLED:-build/tools/pooled}" "$guest" "$host" | python3 -c 'import json, sys; print(json.load(sys.stdin)["auc_train"])')
s=$(median "${lattice[@]}") p=$(median "${peer[@]}")
echo "data: $name" >&2
figure boost lattice_s_per_tree "$s" s xgboost_hist "$p"
figure boost lattice_auc_train "$auc" AUC xgboost_hist "$peer_auc"
figure boost lattice_auc_train_vs_pooled "$auc" AUC pooled "$pooled_auc"
figure boost lattice_bytes_guest_host "$(task_bytes hetero_secure_boost_0 guest)" B "" 0
figure boost lattice_bytes_host_guest "$(task_bytes hetero_secure_boost_0 host)" B "" 0
figure boost job_seconds "$(job_field seconds)" s "" 0
if [ $paillier = 1 ]; then
    run_job examples/breast/train_dsl.json "$dir/paillier.json"
    figure boost paillier_2048_s_per_tree "$(task_seconds hetero_secure_boost_0 | awk '{ print $1 / 2 }')" s xgboost_hist "$p"
fi
