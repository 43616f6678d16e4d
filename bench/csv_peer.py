"""The measuring half of csv.sh: csv_peer.py NORN DIR RUNS. Both programs run as children, so that memory is each one's own."""
import json
import os
import statistics
import subprocess
import sys

norn, folder, runs = sys.argv[1], sys.argv[2], int(sys.argv[3])
source, parquet = folder + "/guest.csv", folder + "/out.parquet"
size = os.path.getsize(source)

DUCKDB = """
import duckdb, json, os, resource, sys, time
c = duckdb.connect()
c.execute("set threads=%d; set enable_progress_bar=false" % len(os.sched_getaffinity(0)))
t = time.perf_counter()
c.execute("copy (select * from read_csv('%s')) to '%s' (format parquet)" % (sys.argv[1], sys.argv[2]))
s = time.perf_counter() - t
print(json.dumps([s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss]))
"""


def run_norn():
    """Seconds, started process included, and peak KiB."""
    code = (
        "import json,resource,subprocess,sys,time\n"
        "t=time.perf_counter(); subprocess.run(sys.argv[1:],check=True,stdout=subprocess.DEVNULL)\n"
        "print(json.dumps([time.perf_counter()-t, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]))"
    )
    command = [norn, "upload", "--site", folder + "/site", source, "--table", "bench/csv", "--replace", "--json"]
    return json.loads(subprocess.check_output([sys.executable, "-c", code] + command))


def run_duckdb():
    return json.loads(subprocess.check_output([sys.executable, "-c", DUCKDB, source, parquet]))


with open(source, "rb") as f:  # into the page cache
    while f.read(1 << 24):
        pass
ours, theirs = [], []
for _ in range(runs):
    ours.append(run_norn())
    theirs.append(run_duckdb())


def spread(values):
    return round((max(values) - min(values)) / statistics.median(values), 3)


def line(figure, unit, a, b, **more):
    x, y = statistics.median(a), statistics.median(b)
    print(json.dumps({"bench": "csv", "figure": figure, "value": round(x, 3), "unit": unit, "peer": "duckdb",
                      "peer_value": round(y, 3), "ratio": round(x / y, 3), "spread": spread(a), **more}))


line("csv_to_table", "MB/s", [size / 1e6 / s for s, _ in ours], [size / 1e6 / s for s, _ in theirs], bytes=size, runs=runs)
line("csv_to_table_time", "s", [s for s, _ in ours], [s for s, _ in theirs])
line("csv_to_table_peak_memory", "MiB", [m / 1024 for _, m in ours], [m / 1024 for _, m in theirs])
