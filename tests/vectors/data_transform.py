"""Known answers for test_data_transform.c, by scikit-learn's SimpleImputer:
python3 tests/vectors/data_transform.py > tests/vectors/data_transform.h   (scikit-learn 1.9.1, numpy 2.4.6)"""
import random
import numpy as np
from sklearn.impute import SimpleImputer

random.seed(5)
N = 30
x = np.array([[np.nan if random.random() < 0.25 else round(random.gauss(2, 3), 3) for _ in range(3)] for _ in range(N)])
x[4, 2] = x[9, 2] = x[17, 2] = -999  # what else means missing, or is an outlier


def f(v):
    return "MISSING" if np.isnan(v) else repr(float(v))


def out(name, a):
    print(f"static const double {name}[] = {{{', '.join(f(v) for v in np.asarray(a).T.ravel())}}};")


print("/* Made by tests/vectors/data_transform.py: 30 rows of 3 columns, column by column; includer defines MISSING. */")
out("dt_x", x)
nan = np.where(x == -999, np.nan, x)
out("dt_mean", SimpleImputer(strategy="mean").fit_transform(nan))
out("dt_values_mean", SimpleImputer(strategy="mean").fit(nan).statistics_)
out("dt_values_min", np.nanmin(nan, axis=0))
out("dt_values_max", np.nanmax(nan, axis=0))
out("dt_rates", np.isnan(nan).mean(axis=0))
# missing cells become the mean with -999 among the values; then -999 becomes the mean of the rest
first = SimpleImputer(strategy="mean").fit_transform(x)
out("dt_both", SimpleImputer(strategy="mean", missing_values=-999).fit_transform(first))
