"""Known answers for test_evaluation.c, by scikit-learn, numpy and pandas:
python3 tests/vectors/evaluation.py > tests/vectors/evaluation.h   (scikit-learn 1.9.1, numpy 2.4.6, pandas 3.1.1)"""
import random
import numpy as np
import pandas as pd
from sklearn import metrics as m

random.seed(11)
N, V = 60, 45


def f(x):
    return repr(float(x))


def array(name, values, kind="double"):
    print(f"static const {kind} {name}[] = {{{', '.join(f(v) if kind == 'double' else str(v) for v in values)}}};")


def number(name, x):
    print(f"static const double {name} = {f(x)};")


print("/* Made by tests/vectors/evaluation.py. */")
# scores of two decimals: ties
y = [int(random.random() < 0.4) for _ in range(N)]
s = [round(min(max(0.5 + 0.22 * (2 * t - 1) + random.gauss(0, 0.25), 0), 1), 2) for t in y]
array("bin_y", y, "int"), array("bin_s", s)
number("bin_auc", m.roc_auc_score(y, s))
order = sorted(s, reverse=True)
P, Q = sum(y), N - sum(y)
rates = []
for c in range(100):
    t = order[int(N * (c / 100))]
    rates.append(sum(a for a, b in zip(y, s) if b > t) / P - sum(1 - a for a, b in zip(y, s) if b > t) / Q)
number("bin_ks", max(rates))
array("bin_f1", [m.f1_score(y, [b > c * 0.01 for b in s], zero_division=0) for c in (10, 30, 50, 70)])
array("bin_accuracy", [m.accuracy_score(y, [b > t for b in s]) for t in (sorted(set(s), reverse=True)[k] for k in (0, 5, 20))])
fpr, tpr, thr = m.roc_curve(y, s, drop_intermediate=True)
array("bin_fpr", fpr), array("bin_tpr", tpr), array("bin_thr", [float(max(s)) + 1] + list(thr[1:]))

# a second set, moved, and the population stability between them
z = [int(random.random() < 0.5) for _ in range(V)]
u = [round(min(max(0.45 + 0.2 * (2 * t - 1) + random.gauss(0, 0.3), 0), 1), 2) for t in z]
array("val_y", z, "int"), array("val_s", u)
edges = sorted(set(np.quantile(s, [round(i * 0.05, 3) for i in range(20)] + [1.0], method="nearest")))


def count(x):
    left = pd.cut(x, pd.IntervalIndex.from_breaks(edges[:-1], closed="left"))
    last = pd.cut(x, pd.IntervalIndex.from_arrays(edges[-2:-1], edges[-1:], closed="both"))
    return list(left.value_counts()) + list(last.value_counts())


a, b = count(np.array(s)), count(np.array(u))
ap, bp = count(np.array(s)[np.array(y) == 1]), count(np.array(u)[np.array(z) == 1])
e, o = np.array([x or 1e-6 for x in a]) / N, np.array([x or 1e-6 for x in b]) / V
array("psi_edges", edges), array("psi_train", a, "int"), array("psi_validate", b, "int")
array("psi_scores", (o - e) * np.log(o / e)), number("psi_total", ((o - e) * np.log(o / e)).sum())
array("psi_train_pos", [p / c if c else 0 for p, c in zip(ap, a)])
array("psi_validate_pos", [p / c if c else 0 for p, c in zip(bp, b)])

# regression
t = [round(random.uniform(0, 9), 3) for _ in range(31)]
q = [round(x + random.gauss(0, 1.5), 3) for x in t]
q = [abs(x) for x in q]
array("reg_y", t), array("reg_p", q)
for name, fn in (("explained_variance", m.explained_variance_score), ("mean_absolute_error", m.mean_absolute_error),
                 ("mean_squared_error", m.mean_squared_error), ("median_absolute_error", m.median_absolute_error),
                 ("r2_score", m.r2_score), ("root_mean_squared_error", lambda a, b: m.mean_squared_error(a, b) ** 0.5),
                 ("mean_squared_log_error", m.mean_squared_log_error)):
    number("reg_" + name, fn(t, q))

# classes 0, 1, 3, 4: nobody is of class 2, nothing is taken for class 4
c = [random.choice([0, 1, 3, 3, 4]) for _ in range(50)]
d = [x if random.random() < 0.7 and x != 4 else random.choice([0, 1, 3]) for x in c]
array("mul_y", c, "int"), array("mul_p", d, "int")
number("mul_accuracy", m.accuracy_score(c, d))
array("mul_precision", m.precision_score(c, d, average=None, zero_division=0))
array("mul_recall", m.recall_score(c, d, average=None))
w = [[random.random() for _ in range(4)] for _ in c]
w = [[round(x / sum(r), 4) for x in r] for r in w]
print("static const double mul_detail[][4] = {%s};" % ", ".join("{%s}" % ", ".join(map(f, r)) for r in w))
array("mul_auc", [m.roc_auc_score([x == k for x in c], [r[i] for r in w]) for i, k in enumerate((0, 1, 3, 4))])
