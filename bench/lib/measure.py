"""Runs the load generator against a server and counts what the server used for it; interleaved rounds; medians."""

import re
import statistics
import subprocess

import netns
import servers
from procs import program

# What dnsperf may take beyond its time limit: the last questions' timeout and its start.
SLACK_S = 30


def number(pattern, text):
    found = re.search(pattern, text, re.M)
    return float(found.group(1)) if found else 0.0


def dnsperf(ctx, server, queries, do=False, tcp=False, seconds=None, clients=4, outstanding=200, qps=None,
            per_connection=None, once=False, cpus=None):
    """One run of dnsperf: {done, lost, qps, size, latency_us}. once: the file once, however long it takes (bounded)."""
    seconds = seconds or ctx.seconds
    argv = [program("dnsperf"), "-s", server.address, "-p", str(server.port), "-d", queries, "-c", str(clients),
            "-T", "1", "-q", str(outstanding), "-t", "2", "-W"]
    argv += ["-n", "1", "-l", "60"] if once else ["-l", str(seconds)]
    argv += ["-e", "-D"] if do else []
    argv += ["-m", "tcp"] if tcp else []
    argv += ["-Q", str(qps)] if qps else []
    argv += ["-O", f"num-queries-per-conn={per_connection}"] if per_connection else []
    cpus = cpus or [ctx.load_cpu]
    done = subprocess.run(["taskset", "-c", ",".join(map(str, cpus)), *argv], capture_output=True, text=True,
                          timeout=(60 if once else seconds) + SLACK_S)
    if done.returncode != 0:
        raise RuntimeError(f"dnsperf: {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
    out = done.stdout
    return {"done": int(number(r"Queries completed:\s+(\d+)", out)), "lost": int(number(r"Queries lost:\s+(\d+)", out)),
            "qps": number(r"Queries per second:\s+([\d.]+)", out), "size": number(r"response (\d+)", out),
            "latency_us": number(r"Average Latency \(s\):\s+([\d.]+)", out) * 1e6}


def load(ctx, server, queries, do=False, **options):
    """One run of the generator; with what the server used: ns of CPU a question, and for signet the mean batch."""
    pid = server.child.pid
    counted = servers.batches(server)
    before = servers.cpu_ns(pid)
    if ctx.generator == "kxdpgun" and not options.get("tcp"):
        row = netns.kxdpgun(ctx, server, queries, do, options.get("seconds"), options.get("qps"))
    else:
        row = dnsperf(ctx, server, queries, do, **options)
    used = servers.cpu_ns(pid) - before
    if row["done"] == 0:
        raise RuntimeError(f"{server.name} answered nothing:\n{server.text()[-2000:]}")
    row["ns"] = used / row["done"]
    row["batch"] = None
    if counted is not None and not options.get("tcp"):
        asked, came = (b - a for a, b in zip(counted, servers.batches(server)))
        row["batch"] = asked / came if came else None
    return row


def warm(ctx, server, path, do=False):
    """Asks the whole file once, uncounted, so that no server meets its own memory for the first time in a round."""
    dnsperf(ctx, server, path, do, once=True)


def rounds(ctx, subjects, label=""):
    """Each round runs every subject once, in an order that turns from round to round.

    subjects: name -> function(round) that gives a row of numbers. The result: name -> rows.
    """
    rows = {name: [] for name in subjects}
    names = list(subjects)
    for n in range(ctx.rounds):
        turned = names[n % len(names):] + names[:n % len(names)]
        for name in turned:
            rows[name].append(subjects[name](n))
        if label:
            ctx.say(f"{label}, round {n + 1}: " + " ".join(f"{name} {rows[name][-1]['ns']:.0f}" for name in names))
    return rows


def spread(values):
    """Median, least and greatest of what is no None."""
    values = [v for v in values if v is not None]
    if not values:
        return None
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summary(rows):
    """The rows of one subject: each figure's spread; lost questions added up."""
    out = {key: spread([r.get(key) for r in rows]) for key in ("ns", "qps", "batch", "latency_us", "size")}
    out["lost"] = sum(r["lost"] for r in rows)
    out["answered"] = sum(r["done"] for r in rows)
    return out


def ratio(a, b):
    return None if a is None or b is None or b <= 0 else a / b
