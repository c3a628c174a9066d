"""Started again with its signatures on disk: how long a signed zone takes beside an unsigned one, and what a signature
costs of memory and disk.

Memory of a signature is counted twice, by what the process has of its own once it rests: beside the unsigned zone, the
chain of NSECs included, and beside the unsigned zone with the same NSECs in its file, which leaves the signatures."""

import mmap
import os
import re
import shutil
import statistics
import time

import context  # noqa: F401  (puts tests/functional in the path)
import load
import measure
import report
import servers
import sign
import zones
from daemon import Signet
from procs import wait_for

ROUNDS_MAX = 3
SIGNED_S = 900
TOUCHED_MB = 1024


def conf(path, signed):
    if not signed:
        return {"zones": [{"name": zones.APEX, "file": path}]}
    return {"keystores": [{"name": "keys", "type": "file"}],
            "policies": [{"name": "bench", "signing": "eager", "ksk": {"keystore": "keys"},
                          "zsk": {"keystore": "keys"}}],
            "zones": [{"name": zones.APEX, "file": path, "policy": "bench"}]}


def until_served(server, start):
    with load.Probe(server) as probe:
        probe.until(f"host{0:07d}.{zones.APEX}", "10.0.0.0", start)
    return time.monotonic() - start


def octets(path):
    """On disk, by blocks: pages that were never written take none."""
    return os.stat(path).st_blocks * 512


def anonymous_mb(pid):
    """Memory of its own: what is mapped of files, the signatures' among them, goes when others want it."""
    with open(f"/proc/{pid}/status") as f:
        return int(re.search(r"^RssAnon:\s+(\d+)", f.read(), re.M).group(1)) / 1024


def keystore_signatures(server):
    """How many the keystores made in this run."""
    return sum(k["signatures"] for k in server.ctl_json("status")["keystores"])


def touch_memory():
    """A virtual machine gives memory that was free for seconds back to its host, and waits for each page that it wants
    again: more than all that is measured. So as much as any server here takes is written, and free, when it starts."""
    with mmap.mmap(-1, TOUCHED_MB << 20) as m:
        block = b"\1" * (1 << 20)
        for _ in range(TOUCHED_MB):
            m.write(block)


def started(server, signed):
    """From exec to serving, and then with all of its signatures; memory once it rests."""
    touch_memory()
    start = time.monotonic()
    server.run(wait=False)
    row = {"served_s": until_served(server, start)}
    if signed:
        wait_for(lambda: sign.shown(server)["signing"] == "complete", SIGNED_S, "signed")
        row["complete_s"] = time.monotonic() - start
        row["made"] = keystore_signatures(server)
    row["cpu_s"] = load.cpu_s(server.child.pid)
    row["peak_mb"] = servers.peak_mb(server.child.pid)
    load.settled_mb(server.child.pid)
    row["rest_mb"] = anonymous_mb(server.child.pid)
    return row


def first(ctx, name, path, signed):
    """A server that has everything on disk, ended."""
    server = Signet(ctx.folder(f"restart-{name}"), conf(path, signed),
                    server={"workers": len(os.sched_getaffinity(0))}, timeout=SIGNED_S)
    row = {}
    if signed:
        wait_for(lambda: sign.shown(server)["signing"] == "complete", SIGNED_S, "signed")
        row["signatures"] = sign.shown(server)["signatures"]
        wait_for(lambda: sign.shown(server)["saved"], SIGNED_S, "all signatures on disk")
    server.stop()
    return server, row


def run(ctx):
    names = max(ctx.names)
    path = zones.plain(ctx, names)
    plain, _ = first(ctx, "plain", path, False)
    chained, _ = first(ctx, "chained", zones.chained(ctx, names), False)
    signed, made = first(ctx, "signed", path, True)
    rows = {"unsigned": [], "chained": [], "signed": []}
    for n in range(1 if ctx.quick else min(ctx.rounds, ROUNDS_MAX)):
        for name, server in (("unsigned", plain), ("chained", chained), ("signed", signed)):
            row = started(server, name == "signed")
            server.stop()
            rows[name].append(row)
        ctx.say(f"restart round {n + 1}: " + " ".join(f"{k} {r[-1]['served_s']:.2f} s" for k, r in rows.items()))
    disk = octets(os.path.join(signed.folder, "state", "signatures.lmdb"))
    for server in (plain, chained, signed):
        shutil.rmtree(server.folder, ignore_errors=True)
    out = {name: {k: statistics.median(r[k] for r in got) for k in got[0]}
           for name, got in rows.items()}
    count = made["signatures"]
    return {"names": names, "signatures": count, "rounds": rows, **out,
            "of_unsigned": measure.ratio(out["signed"]["served_s"], out["unsigned"]["served_s"]),
            "memory_octets": (out["signed"]["rest_mb"] - out["unsigned"]["rest_mb"]) * 2**20 / count,
            "memory_alone_octets": (out["signed"]["rest_mb"] - out["chained"]["rest_mb"]) * 2**20 / count,
            "disk_octets": disk / count}


def table(result):
    lines = ["## Started again", "",
             f"A zone of {result['names']} names, {result['signatures']} signatures, all of them on disk.", "",
             "| | served, s | complete, s | CPU, s | memory, MB | signatures made |", "|---|---|---|---|---|---|"]
    for name in ("unsigned", "chained", "signed"):
        r = result[name]
        lines.append(f"| {name} | {r['served_s']:.2f} | {report.ratio(r.get('complete_s'))} | {r['cpu_s']:.2f} | "
                     f"{r['rest_mb']:.0f} | {report.figure(r.get('made'))} |")
    lines += ["", f"A signature takes {result['memory_octets']:.0f} octets of memory, its share of the denial chain "
              f"among them, {result['memory_alone_octets']:.0f} without (beside a zone with the same NSECs in its file "
              f"and no signatures), and {result['disk_octets']:.0f} of disk."]
    return "\n".join(lines)


def judge(result):
    return [report.verdict("restart: a signed zone's time of an unsigned one's", result["of_unsigned"], 1.5),
            report.verdict("memory of a signature with its share of the chain, octets", result["memory_octets"], 128),
            report.verdict("disk of a signature, octets", result["disk_octets"], 200)]

