"""Which system calls remain: strace counts them while a fixed number of questions is asked."""

import os
import re
import signal
import subprocess

import measure
import report
import servers
import udp
import zones
from procs import program, wait_for

TARGETS = udp.TARGETS
QUESTIONS = 20000
ATTACH_S, END_S = 20, 30


def attach(pids, out):
    """strace on these processes, once it is attached to every thread."""
    argv = [program("strace"), "-c", "-f", "-o", out]
    for pid in pids:
        argv += ["-p", str(pid)]
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    tasks = [f"/proc/{pid}/task/{task}/status" for pid in pids for task in os.listdir(f"/proc/{pid}/task")]

    def traced():
        if child.poll() is not None:
            raise RuntimeError(f"strace: {child.stderr.read().decode()}")
        return all(re.search(r"^TracerPid:\s+[1-9]", read(path), re.M) for path in tasks)
    try:
        wait_for(traced, ATTACH_S, "strace attached")
    except BaseException:
        detach(child)
        raise
    return child


def read(path):
    with open(path) as f:
        return f.read()


def detach(child):
    """It writes its counts and lets the processes run on."""
    if child.poll() is None:
        child.send_signal(signal.SIGINT)
    try:
        child.wait(END_S)
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        child.stderr.close()


def counts(path):
    """name -> calls, of strace's table."""
    found = {}
    for line in read(path).splitlines():
        fields = line.split()
        if len(fields) >= 5 and re.fullmatch(r"[\d.]+", fields[0]) and fields[-1] != "total":
            found[fields[-1]] = int(fields[3])
    return found


def run(ctx):
    names = ctx.names[0]
    asked = QUESTIONS if not ctx.quick else 5000
    result = {"names": names, "rows": []}
    path = zones.plain(ctx, names)
    for name in (*ctx.peers, "signet"):
        server = servers.start(ctx, name, {zones.APEX: path}, "-strace")
        for way, options in {"UDP": {}, "TCP": {"tcp": True, "clients": 20}}.items():
            out = os.path.join(ctx.folder("strace"), f"{name}-{way}")
            child = attach(servers.tree(server.child.pid), out)
            try:
                row = measure.dnsperf(ctx, server, zones.queries(ctx, "mix", names, asked), once=True, **options)
            finally:
                detach(child)
            calls = counts(out)
            result["rows"].append({"server": name, "way": way, "questions": row["done"], "calls": calls,
                                   "per_question": sum(calls.values()) / row["done"]})
            ctx.say(f"{name} {way}: {result['rows'][-1]['per_question']:.2f} system calls a question")
        ctx.crew.stop(server)
    return result


def table(result):
    lines = []
    for r in result["rows"]:
        nsd = next((x["per_question"] for x in result["rows"] if x["server"] == "nsd" and x["way"] == r["way"]), None)
        names = sorted(r["calls"], key=r["calls"].get, reverse=True)
        lines.append([r["way"], r["server"], report.ratio(r["per_question"], 3),
                      report.ratio(measure.ratio(r["per_question"], nsd), 3),
                      ", ".join(f"{n} {r['calls'][n] / r['questions']:.3f}" for n in names
                                if r["calls"][n] * 1000 >= r["questions"])])
    return ("## System calls a question\n\n"
            "Under strace, which slows the server, so that its batches are larger than without.\n\n" +
            report.markdown(["transport", "server", "calls a question", "of NSD's", "which"], lines))
