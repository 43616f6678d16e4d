#!/usr/bin/env python3
"""disturb.py - jobs of all kinds between two real sites while processes are killed and stopped, sites restarted and the link cut,
by a seeded schedule; and a checker: each job's result is the undisturbed one, or it has ended with a reason at all parties,
the same one; at the end nothing is left over.

usage: disturb.py NORN [--jobs 50] [--seed 1] [--exchange] [--dir DIR]     --exchange: through a third site, disturbed like them. TAP on stdout; DIR (a new one) is kept when something is wrong"""
import argparse, hashlib, json, os, random, shutil, signal, socket, subprocess, sys, tempfile, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BREAST = os.path.join(ROOT, "examples/breast")
PARTY = {"guest": 9999, "host": 10000}
BOOST = "hetero_secure_boost_0"
ENDED = ("success", "failed", "canceled", "timeout")
LIMIT_S = 120  # a job that has not ended by then hangs
DEADLINE_S = 4


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class World:
    def __init__(self, norn, folder, exchange):
        self.norn, self.dir, self.hops = os.path.realpath(norn), folder, []
        self.sites = [*PARTY, "exchange"] if exchange else list(PARTY)
        self.env = dict(os.environ, NORN_TEST_SEEDS="1", NORN_TEST_SEED="7")
        port = {s: free_port() for s in PARTY}
        self.call("ca", "init", f"{folder}/ca", "--name", "test")
        if exchange:
            self.star(folder)
            return
        for site, peer in (("guest", "host"), ("host", "guest")):
            hop = free_port()
            self.hops.append(subprocess.Popen([sys.executable, f"{ROOT}/tests/e2e/hop.py", str(hop), str(port[peer]), f"{folder}/cut"]))
            self.call("site", "init", f"{folder}/{site}", "--party", str(PARTY[site]), "--listen", f"127.0.0.1:{port[site]}",
                      "--http", "none", "--peer", f"{PARTY[peer]}=127.0.0.1:{hop}", "--ca", f"{folder}/ca")

    def star(self, folder):
        port = free_port()
        self.call("site", "init", f"{folder}/exchange", "--party", "10001", "--listen", f"127.0.0.1:{port}", "--peer", "9999",
                  "--peer", "10000", "--http", "none", "--ca", f"{folder}/ca")
        for site, peer in (("guest", "host"), ("host", "guest")):
            hop = free_port()
            self.hops.append(subprocess.Popen([sys.executable, f"{ROOT}/tests/e2e/hop.py", str(hop), str(port), f"{folder}/cut"]))
            self.call("site", "init", f"{folder}/{site}", "--party", str(PARTY[site]), "--listen", "none", "--peer", f"10001=127.0.0.1:{hop}",
                      "--peer", f"{PARTY[peer]}=via 10001", "--http", "none", "--ca", f"{folder}/ca")

    def call(self, *args, check=True, timeout=60):
        r = subprocess.run([self.norn, *args], env=self.env, capture_output=True, text=True, timeout=timeout)
        if check and r.returncode:
            raise RuntimeError(f"norn {' '.join(args)}: {r.stderr or r.stdout}")
        return r

    def site(self, s):
        return f"{self.dir}/{s}"

    def start(self, s):
        self.call("site", "run", self.site(s), "--set", f"task_deadline={DEADLINE_S}s", "--set", "heartbeat=300ms",
                  *(("--set", "exchange_memory=64MiB") if s == "exchange" else ()))

    def stop_all(self):
        for s in self.sites:
            self.call("site", "stop", self.site(s), check=False)
        for h in self.hops:
            h.kill()

    def pid(self, s):
        """Of the site's process, None when it does not run."""
        try:
            with open(f"{self.site(s)}/run/lock") as f:
                pid = int(f.read())
            with open(f"/proc/{pid}/cmdline", "rb") as f:
                return pid if b"site" in f.read() else None
        except (OSError, ValueError):
            return None

    def children(self, s):
        pid = self.pid(s)
        r = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True) if pid else None
        return [int(x) for x in r.stdout.split()] if r else []

    def linked(self):
        for _ in range(600):
            r = self.call("site", "status", self.site("guest"), check=False)
            if any(line.startswith("  party 10000") and " up " in line for line in r.stdout.splitlines()):
                return
            time.sleep(0.05)
        raise RuntimeError("the sites do not find each other")

    def show(self, s, job):
        """None: no such job there."""
        for _ in range(100):
            try:
                r = self.call("job", "show", "--site", self.site(s), job, "--json", check=False, timeout=20)
            except subprocess.TimeoutExpired:
                continue
            if r.returncode == 0:
                return json.loads(r.stdout)
            if r.returncode == 7:
                return None
            time.sleep(0.1)
        raise RuntimeError(f"job show at the {s}: {r.stderr}")

    def submit(self, kind, retries, model=None):
        conf = {"dsl_version": 2, "initiator": {"role": "guest", "party_id": 9999}, "role": {"guest": [9999], "host": [10000]},
                "job_parameters": {"common": {"auto_retries": retries, "auto_retry_delay": 0.1}}}
        dsl = {"components": {"secure_add_example_0": {"module": "SecureAddExample"}}}
        if kind == "toy":
            conf["component_parameters"] = {"common": {"secure_add_example_0": {"data_num": 20000}}}
        else:
            with open(f"{BREAST}/train_conf.json") as f:
                given = json.load(f)["component_parameters"]
            given["common"][BOOST].update(num_trees=40, n_iter_no_change=False)
            conf["component_parameters"] = given
            with open(f"{BREAST}/train_dsl.json") as f:
                dsl = json.load(f)
        if kind == "predict":
            conf["job_parameters"]["common"].update(job_type="predict", model_id=model[0], model_version=model[1])
            tables = {"guest": "bank_new", "host": "clinic_new"}
            conf["component_parameters"] = {"role": {r: {"0": {"reader_0": {"table": {"namespace": "breast", "name": t}}}}
                                                     for r, t in tables.items()}}
        for name, what in (("dsl", dsl), ("conf", conf)):
            with open(f"{self.dir}/{name}.json", "w") as f:
                json.dump(what, f)
        args = [] if kind == "predict" else ["--dsl", f"{self.dir}/dsl.json"]
        r = self.call("job", "submit", "--site", self.site("guest"), *args, "--conf", f"{self.dir}/conf.json", "--json")
        return json.loads(r.stdout)["job"]

    def result(self, kind, job):
        """What must come out the same: scores, both halves of the model, the sum of the toy."""
        if kind == "toy":
            return self.call("job", "summary", "--site", self.site("guest"), job, "secure_add_example_0", "--json").stdout
        out = f"{self.dir}/scores.csv"
        self.call("job", "output", "--site", self.site("guest"), job, BOOST, "--out", out)
        with open(out, "rb") as f:
            scores = hashlib.sha256(f.read()).hexdigest()
        halves = []
        for s in PARTY if kind == "train" else ():
            r = self.call("model", "show", "--site", self.site(s), job, BOOST, "--json")
            halves.append(json.dumps(json.loads(r.stdout)["parts"], sort_keys=True))
        return [scores, halves]

    def wait(self, job, seconds=LIMIT_S):
        end = time.time() + seconds
        while time.time() < end:
            now = self.show("guest", job)
            if now and now["status"] in ENDED:
                return now
            time.sleep(0.05)
        return None


class Disturber:
    """Faults by a seeded schedule; heal() puts all back."""

    def __init__(self, world, rng):
        self.w, self.rng, self.stopped = world, rng, []

    def once(self):
        """One fault, from its beginning to its end; says what it was."""
        w, r = self.w, self.rng
        kind = r.choice(["task", "task", "site", "site", "both", "freeze task", "freeze site", "cut", "cut", "long cut", "stop"])
        s = r.choice(w.sites)
        seconds = r.uniform(0.05, 2)
        if kind == "task":
            for pid in w.children(s)[:1]:
                self.kill(pid, signal.SIGKILL)
        elif kind in ("site", "both"):
            sites = list(w.sites) if kind == "both" else [s]
            r.shuffle(sites)
            for x in sites:
                self.kill(w.pid(x), signal.SIGKILL)
            time.sleep(seconds)
            for x in sites:
                w.start(x)
        elif kind == "stop":
            w.call("site", "stop", w.site(s), check=False)
            time.sleep(seconds / 2)
            if not w.pid(s):
                w.start(s)
        elif kind.startswith("freeze"):
            for pid in w.children(s)[:1] if kind == "freeze task" else [w.pid(s)]:
                if self.kill(pid, signal.SIGSTOP):
                    time.sleep(seconds)
                    self.kill(pid, signal.SIGCONT)
        else:
            seconds = seconds if kind == "cut" else DEADLINE_S + 1
            open(f"{w.dir}/cut", "w").close()
            time.sleep(seconds)
            os.unlink(f"{w.dir}/cut")
        return f"{kind} {s if kind not in ('both', 'cut', 'long cut') else ''} {seconds:.1f} s".replace("  ", " ")

    @staticmethod
    def kill(pid, how):
        try:
            if pid:
                os.kill(pid, how)
                return True
        except ProcessLookupError:
            pass
        return False


class Checker:
    def __init__(self):
        self.n = self.bad = 0

    def say(self, ok, what, more=""):
        self.n += 1
        self.bad += not ok
        print(f"{'ok' if ok else 'not ok'} {self.n} - {what}", flush=True)
        for line in more.splitlines():
            print("#  ", line, flush=True)


def check_job(w, c, want, kind, retries, job, faults, count):
    what = f"{job} {kind}, {retries} retries; {'; '.join(faults)}"
    at_guest = w.wait(job)
    if not at_guest:
        count["hung"] += 1
        c.say(False, what + ": HUNG", w.call("job", "why", "--site", w.site("guest"), job, check=False).stdout)
        return
    if at_guest["status"] == "success":
        got = w.result(kind, job)
        count["good"] += 1
        count["wrong"] += got != want[kind]
        c.say(got == want[kind], what + ": success, with the undisturbed result")
    else:
        end = time.time() + 20
        at_host = w.show("host", job)
        while at_host and (at_host["status"], at_host["reason"]) != (at_guest["status"], at_guest["reason"]) and time.time() < end:
            time.sleep(0.1)
            at_host = w.show("host", job)
        # A job that the host never heard of has ended there, too. Both may have ended it while the link was down, and been killed
        # before they could agree on the reason.
        reason = not at_host or (at_host["status"] in ENDED and at_host["reason"])
        same = not at_host or (at_host["status"], at_host["reason"]) == (at_guest["status"], at_guest["reason"])
        count["failed"] += 1
        count["own"] += not same
        count["mute"] += not (at_guest["reason"] and reason)
        c.say(bool(at_guest["reason"] and reason), f"{what}: {at_guest['status']}: {at_guest['reason'].splitlines()[0][:200]}",
              "" if same else f"at the host: {at_host['status']}: {at_host['reason']}")


def rerun(w, c, want, kind, job):
    r = w.call("job", "rerun", "--site", w.site("guest"), job, check=False)
    now = w.wait(job) if r.returncode == 0 else None
    ok = bool(now) and now["status"] == "success" and w.result(kind, job) == want[kind]
    c.say(ok, f"{job} {kind}: run again, with the undisturbed result", "" if ok else r.stderr + json.dumps(now)[:1500])


def left_over(w):
    found = []
    for s in PARTY:
        found += [f"process {pid} at the {s}" for pid in w.children(s)]
        listed = json.loads(w.call("job", "list", "--site", w.site(s), "--max", "0", "--json").stdout)
        jobs = {j["job"]: j["status"] for j in (listed["jobs"] if isinstance(listed, dict) else listed)}
        found += [f"open job {j} at the {s}: {st}" for j, st in jobs.items() if st not in ENDED]
        for folder, names, files in os.walk(w.site(s)):
            parts = folder.split(os.sep)
            if parts[-1] == "jobs":
                found += [f"folder of no job: {n}" for n in names if n not in jobs]
            if parts[-1] == "checkpoint" and jobs.get(parts[-4]) == "success":
                found.append(f"checkpoint of a job that succeeded: {folder}")
            found += [f"{folder}/{f}" for f in files + names if f.endswith((".tmp", ".part"))]
            if parts[-1] == "spill":
                found += [f"{folder}/{f}" for f in files]
    return found


def main():
    a = argparse.ArgumentParser()
    a.add_argument("norn")
    a.add_argument("--jobs", type=int, default=50)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--exchange", action="store_true")
    a.add_argument("--dir")
    a = a.parse_args()
    folder = a.dir or tempfile.mkdtemp(prefix="norn-disturb-")
    os.makedirs(folder, exist_ok=True)
    rng, coin, c, since = random.Random(a.seed), random.Random(~a.seed), Checker(), time.time()
    w = World(a.norn, folder, a.exchange)
    count = dict(good=0, failed=0, hung=0, wrong=0, mute=0, own=0)
    try:
        for s in w.sites:
            w.start(s)
        w.linked()
        for s, f in (("guest", "bank"), ("guest", "bank_new"), ("host", "clinic"), ("host", "clinic_new")):
            w.call("upload", "--site", w.site(s), f"{BREAST}/{f}.csv", "--table", f"breast/{f}")
        want, model = {}, None
        for kind in ("toy", "train", "predict"):
            job = w.submit(kind, 0, model)
            done = w.wait(job)
            c.say(bool(done) and done["status"] == "success", f"undisturbed: {kind}", json.dumps(done)[:500] if done and done["status"] != "success" else "")
            want[kind] = w.result(kind, job)
            if kind == "train":
                r = w.call("model", "deploy", "--site", w.site("guest"), job, "--json")
                model = (json.loads(w.call("job", "show", "--site", w.site("guest"), job, "--json").stdout)["model_id"], json.loads(r.stdout)["model_version"])
        print(f"# seed {a.seed}: {a.jobs} jobs", flush=True)
        d, done = Disturber(w, rng), 0
        while done < a.jobs:
            batch = []
            for _ in range(min(rng.randint(1, 3), a.jobs - done)):
                kind, retries = rng.choice(["toy", "train", "train", "predict"]), rng.choice([0, 50, 50, 50])
                batch.append((kind, retries, w.submit(kind, retries, model)))
            faults = []
            for _ in range(rng.randint(1, 3)):
                time.sleep(rng.uniform(0, 0.6))
                faults.append(d.once())
            for s in w.sites:
                if not w.pid(s):
                    w.start(s)
            for kind, retries, job in batch:
                check_job(w, c, want, kind, retries, job, faults, count)
            w.linked()
            for kind, _, job in batch:
                if w.show("guest", job)["status"] != "success" and coin.random() < 0.5:
                    rerun(w, c, want, kind, job)
            done += len(batch)
        time.sleep(2)
        found = left_over(w)
        c.say(not found, "nothing is left over", "\n".join(found))
    finally:
        w.stop_all()
    print(f"1..{c.n}")
    print(f"# seed {a.seed}, {a.jobs} jobs in {time.time() - since:.0f} s: {count['good']} succeeded, {count['failed']} ended with a reason, "
          f"{count['hung']} hung, {count['wrong']} wrong, {count['mute']} without a reason, {count['own']} with one of each party's own; {c.n - c.bad} passed, {c.bad} failed")
    if c.bad:
        print(f"# kept: {folder}")
    elif not a.dir:
        shutil.rmtree(folder)
    return c.bad != 0


sys.exit(main())
