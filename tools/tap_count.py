"""tap_count.py LOG.json...: adds up the TAP lines of meson's test logs; ends with "N passed, N failed" alone on a line."""
import json
import re
import sys

passed = failed = skipped = 0
for path in sys.argv[1:]:
    try:
        lines = open(path, encoding="utf-8").read().splitlines()
    except FileNotFoundError:
        print(f"{path}: no such log")
        failed += 1
        continue
    for line in lines:
        test = json.loads(line)
        ok = bad = 0
        for t in test.get("stdout", "").splitlines():
            m = re.match(r"(not )?ok\b[ \d]*-? ?(.*)", t)
            if not m:
                continue
            if "# SKIP" in t:
                skipped += 1
            elif m.group(1):
                bad += 1
                print(f"failed: {test['name']}: {m.group(2)}")
            else:
                ok += 1
        good = test["result"] in ("OK", "SKIP", "EXPECTEDFAIL")
        if not good and bad == 0:  # died before it could say so
            bad = 1
            print(f"failed: {test['name']}: {test['result']}, return code {test['returncode']}")
        if good and ok == 0 and "# SKIP" not in test.get("stdout", ""):
            ok = 1  # a program without TAP: its exit code is the result
        passed += ok
        failed += bad
if skipped:
    print(f"skipped: {skipped} (data that is not here)")
print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0 or passed == 0)
