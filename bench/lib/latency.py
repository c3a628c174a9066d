"""How long answers take at a fixed rate: bench/latency, and the servers side by side."""

import json
import signal
import statistics
import subprocess

import context  # noqa: F401  (puts tests/functional in the path)
import measure
import report
import servers
import zones

TARGETS = ("bench/latency",)
DRAIN_S = 10
NAMES_MAX = 100000
SHARE = 0.5   # of what the slowest of the servers answers when it is asked all it can
PERCENTILES = ("p50", "p90", "p99", "p99.9", "max")


class Asker:
    """bench/latency while it runs. classes: (name, rate, file, once)."""

    def __init__(self, ctx, server, seconds, classes, do=False):
        argv = [ctx.program("bench/latency"), *(["-D"] if do else []), server.address, str(server.port), str(seconds)]
        argv += [f"{name}:{rate:.0f}:{path}{':once' if once else ''}" for name, rate, path, once in classes]
        self.name = "latency"
        self.seconds = seconds
        self.child = subprocess.Popen(["taskset", "-c", str(ctx.load_cpu), *argv], stdin=subprocess.DEVNULL,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        ctx.crew.add(self)
        self.crew = ctx.crew

    def phase(self):
        """From now on it counts apart."""
        self.child.send_signal(signal.SIGUSR1)

    def stop(self):
        """For the crew; whoever wants to know what was measured calls result()."""
        if self.child.poll() is None:
            self.child.terminate()
        try:
            self.child.communicate(timeout=DRAIN_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.communicate()

    def result(self, early=False):
        """What it printed; early: before its time is over."""
        if early:
            self.child.terminate()
        out, err = self.child.communicate(timeout=self.seconds + DRAIN_S)
        self.crew.members.remove(self)
        if self.child.returncode != 0:
            raise RuntimeError(f"latency: {self.child.returncode}: {err[-500:]}")
        return json.loads(out)


def ask(ctx, server, seconds, classes, do=False):
    """One run of one phase: {"classes": name -> what was measured, "late_us": ...}."""
    got = Asker(ctx, server, seconds, classes, do).result()
    return {"classes": got["phases"][0]["classes"], "late_us": got["late_us"]}


def capacity(ctx, server, path, do=False):
    """Questions a second that the server answers when it is asked all it can, from one CPU."""
    return measure.dnsperf(ctx, server, path, do, seconds=min(ctx.seconds, 2))["qps"]


def merged(runs):
    """Medians over runs of one class."""
    us = {p: statistics.median(r["us"][p] for r in runs) for p in PERCENTILES}
    us["max"] = max(r["us"]["max"] for r in runs)
    return {"us": us, "rate": runs[0]["rate"], "sent": sum(r["sent"] for r in runs),
            "answered": sum(r["answered"] for r in runs), "lost": sum(r["lost"] for r in runs)}


def cells(us):
    return " | ".join(f"{us[p]:.0f}" for p in PERCENTILES)


def run(ctx):
    """Each server at the same rate, half of what the slowest answers; unsigned, the mix of questions."""
    names = min(max(ctx.names), NAMES_MAX)
    path = zones.plain(ctx, names)
    questions = zones.queries(ctx, "mix", names)
    kinds = [*ctx.peers, "signet"]
    started = {kind: servers.start(ctx, kind, {zones.APEX: path}, tag="-latency") for kind in kinds}
    try:
        rate = SHARE * min(capacity(ctx, s, questions) for s in started.values())
        runs = {kind: [] for kind in kinds}
        for n in range(ctx.rounds):
            for kind, server in started.items():
                got = ask(ctx, server, ctx.seconds, [("warm", rate, questions, False)])
                runs[kind].append({**got["classes"]["warm"], "late_us": got["late_us"]})
            ctx.say(f"latency round {n + 1}: " +
                    " ".join(f"{kind} {rows[-1]['us']['p99']:.0f} us" for kind, rows in runs.items()))
    finally:
        ctx.crew.stop(*started.values())
    result = {"names": names, "rate": rate, "servers": {kind: merged(rows) for kind, rows in runs.items()},
              "runs": runs}
    base = result["servers"].get("nsd", result["servers"]["signet"])["us"]
    for row in result["servers"].values():
        row["of_nsd_p99"] = measure.ratio(row["us"]["p99"], base["p99"])
    return result


def table(result):
    lines = ["## Latency", "",
             f"{result['rate']:.0f} questions a second, half of what the slowest answers; {result['names']} names, "
             "unsigned; microseconds from send to the kernel's receive time; medians over the rounds, of `max` the "
             "greatest.", "",
             "| server | p50 | p90 | p99 | p99.9 | max | p99 of NSD's | lost |", "|---|---|---|---|---|---|---|---|"]
    for kind, row in result["servers"].items():
        lines.append(f"| {kind} | {cells(row['us'])} | {row['of_nsd_p99']:.2f} | {row['lost']} |")
    return "\n".join(lines)


def plots(result):
    groups = [(p, {kind: row["us"][p] for kind, row in result["servers"].items()}) for p in ("p50", "p99", "p99.9")]
    return {"latency.svg": report.bars(f"Latency at {result['rate']:.0f} questions a second (less is better)",
                                       "microseconds", groups, base="nsd")}
