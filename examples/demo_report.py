"""demo_report.py DIR JSON: what demo.sh found, as a table, or with JSON = 1 as one line."""
import json
import sys

folder, as_json = sys.argv[1], sys.argv[2] == "1"


def read(name):
    with open(f"{folder}/{name}.json", encoding="utf-8") as f:
        return json.load(f)


job = read("job")
summary = read("hetero_secure_boost_0")
alone, pooled, federated = read("alone"), read("pooled"), read("federated")
intersection = read("intersection_0")


def task(component, role):
    return [t for t in job["tasks"] if t["component"] == component and t["role"] == role][-1]


boost = task("hetero_secure_boost_0", "guest")
trees = len(summary["loss_history"])
line = {
    "auc_guest": round(alone["auc_new"], 6),
    "auc_federated": round(federated["auc"], 6),
    "auc_pooled": round(pooled["auc_new"], 6),
    "common_ids": intersection["intersect_num"],
    "psi_s": task("intersection_0", "guest")["seconds"],
    "s_per_tree": round(boost["seconds"] / trees, 4),
    "bytes_guest_host": sum(t["sent"] for t in job["tasks"] if t["role"] == "guest"),
    "bytes_host_guest": sum(t["sent"] for t in job["tasks"] if t["role"] == "host"),
    "scheme": summary["encrypt"]["set"],
    "security_bits": summary["encrypt"]["security_bits"],
}
if as_json:
    print(json.dumps(line))
    sys.exit(0)
rows = [
    ("rows at the bank, at the clinic, in common", f"420, 430, {line['common_ids']}"),
    ("seconds, submit to success", job["seconds"]),
    ("seconds for the intersection", line["psi_s"]),
    (f"seconds per tree ({trees} trees, depth 3)", line["s_per_tree"]),
    ("bytes bank to clinic, clinic to bank", f"{line['bytes_guest_host']:,}, {line['bytes_host_guest']:,}"),
    ("encryption of gradients, security", f"{line['scheme']}, {line['security_bits']} bits"),
    ("AUC on 114 new people: the bank alone", f"{line['auc_guest']:.4f}"),
    ("  the federation", f"{line['auc_federated']:.4f}"),
    ("  the same boosting on pooled columns", f"{line['auc_pooled']:.4f}"),
]
width = max(len(r[0]) for r in rows)
print("== What it did")
for name, value in rows:
    print(f"  {name:<{width}}  {value}")
