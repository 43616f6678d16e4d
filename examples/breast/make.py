"""make.py DIR: the CSV files beside it, from scikit-learn's copy of the Wisconsin breast cancer data (UCI, 1995).

The guest (bank.csv) has the label and the ten standard errors; the host (clinic.csv) has the ten means and the ten worst
values. 569 people; each party lacks some that the other has, rows are shuffled differently. A fifth of the people are
held back as new ones, to be scored by the trained model.
"""
import csv
import random
import sys

from sklearn.datasets import load_breast_cancer

out = sys.argv[1]
data = load_breast_cancer()
rnd = random.Random(20261126)
names = [n.replace(" ", "_") for n in data.feature_names]
ids = ["P" + "".join(rnd.choices("ABCDEFGHJKLMNPQRSTUVWXYZ23456789", k=9)) for _ in data.data]
assert len(set(ids)) == len(ids)
people = list(range(len(ids)))
rnd.shuffle(people)
new, known = people[:114], people[114:]


def write(name, rows, columns, label):
    rows = list(rows)
    rnd.shuffle(rows)
    with open(f"{out}/{name}.csv", "w", newline="") as f:
        w = csv.writer(f, lineterminator="\n")
        w.writerow(["id"] + (["y"] if label else []) + [names[c] for c in columns])
        for r in rows:
            # y = 1: malignant
            w.writerow([ids[r]] + ([1 - int(data.target[r])] if label else []) + [repr(float(data.data[r][c])) for c in columns])


guest_columns, host_columns = range(10, 20), [*range(10), *range(20, 30)]
write("bank", known[:420], guest_columns, True)
write("clinic", known[25:], host_columns, False)
write("bank_new", new, guest_columns, True)
write("clinic_new", new, host_columns, False)
