"""The micro benchmark of one answer, without sockets."""

import json
import subprocess

import measure
import report

TARGETS = ("bench/bench_answer",)
LIMITS = {1000: 150, 1000000: 250}   # ns of a hit, in batches
NXDOMAIN_LIMIT = 2                   # of a signed hit
TIMEOUT_S = 900


def bench(ctx, *options):
    """Its rows. It ends with a status of its own where an answer allocated, locked or called the system."""
    argv = [ctx.program("bench/bench_answer"), "--json", "--millis", "10" if ctx.quick else "200", *map(str, options)]
    done = subprocess.run(["taskset", "-c", str(ctx.server_cpu), *argv], capture_output=True, text=True,
                          timeout=TIMEOUT_S)
    if not done.stdout:
        raise RuntimeError(f"bench_answer: {done.returncode}: {done.stderr[-500:]}")
    return json.loads(done.stdout)


def run(ctx):
    few, many = (1000, max(ctx.names)) if ctx.quick else (1000, 1000000)
    ctx.say("bench_answer")
    rows = bench(ctx, *[word for names in sorted({few, many}) for word in ("--names", names)])
    return {"rows": rows + bench(ctx, "--names", many, "--zones", many // 100)}


def groups(rows):
    """The rows by zone, names and batch: what one hit is compared with."""
    found = {}
    for r in rows:
        found.setdefault((r["zone"], r["names"], r["batch"], r["zones"]), {})[r["answer"]] = r
    return found


def judge(result):
    out = []
    largest = max(r["batch"] for r in result["rows"])
    for (zone, names, batch, count), by in groups(result["rows"]).items():
        if batch != largest or count != 1 or "hit" not in by:
            continue
        if names in LIMITS:
            out.append(report.verdict(f"one answer, {zone}, {names} names, batches of {batch}: a hit, ns",
                                      by["hit"]["ns"], LIMITS[names]))
        if zone == "signed" and "nxdomain" in by:
            out.append(report.verdict(f"one answer, signed, {names} names: NXDOMAIN, of a hit",
                                      by["nxdomain"]["ns"] / by["hit"]["ns"], NXDOMAIN_LIMIT))
    for what in ("allocations", "locks"):
        out.append(report.verdict(f"one answer: {what}", sum(r[what] for r in result["rows"]), 0))
    called = sum(r["syscalls"] != "none" for r in result["rows"])
    out.append(report.verdict("one answer: kinds that call the system", called, 0))
    return out


def table(result):
    keys = [k for k in result["rows"][0] if k not in ("answer", "zone", "names", "ns")]
    lines = []
    for r in result["rows"]:
        by = groups(result["rows"])[(r["zone"], r["names"], r["batch"], r["zones"])]
        hit = by.get("hit", {}).get("ns")
        lines.append([r["answer"], r["zone"], r["names"], f"{r['ns']:.0f}", report.ratio(measure.ratio(r["ns"], hit)),
                      *[r.get(k, "-") for k in keys]])
    return ("## One answer, without sockets\n\n" +
            report.markdown(["answer", "zone", "names", "ns", "of a hit", *keys], lines))


def plots(result):
    bars = []
    for (zone, names, batch, count), by in groups(result["rows"]).items():
        bars.append((f"{zone}, {names} names, batches of {batch}" + (f", {count} zones" if count != 1 else ""),
                     {kind: r["ns"] for kind, r in by.items()}))
    return {"answer.svg": report.bars("One warm answer", "ns of CPU", bars, base="hit")}
