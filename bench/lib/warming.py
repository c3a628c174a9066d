"""A zone that is signed by a token in the background: how long that takes beside bare loops over as many sessions, and
what the answers that are signed already notice of it."""

import json
import os
import statistics
import subprocess
import time

import context  # noqa: F401  (puts tests/functional in the path)
import latency
import measure
import report
import servers
import sign
import zones
from daemon import Signet, Token, policy
from procs import wait_for

TARGETS = ("bench/bench_hsm", *latency.TARGETS)
NAMES_MAX = 100000
SESSIONS = 2
TOOL_S = 600
SIGNED_S = 1800
WARM_NAMES = 1000
WARM_PER_S = 2000     # few: the CPUs sign
CHUNK_S = 0.5
LOOK_S = 0.25         # each look is a process, and its CPU time is missing where all CPUs sign


def bare_per_s(ctx):
    """Signatures made and verified a second by bare loops over as many sessions, by those in a process as well."""
    argv = [ctx.program("bench/bench_hsm"), "--json", "--sessions", str(SESSIONS), "--rounds", "3",
            "--millis", "100" if ctx.quick else "1000"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TOOL_S, check=True)
    return {r["what"]: r["per_second"] for r in json.loads(done.stdout)}


def start(ctx, path, tag):
    """A server with nothing signed yet, on a token of its own."""
    folder = ctx.folder(f"warming-{tag}")
    token = Token(os.path.join(folder, "token"))
    conf = {"keystores": [token.keystore(sessions=SESSIONS)], "policies": [policy()],
            "zones": [{"name": zones.APEX, "file": path, "policy": "default"}]}
    server = ctx.crew.start(lambda: Signet(folder, conf, env=token.env, server={"workers": 1}, timeout=servers.READY_S,
                                 listen=ctx.address))
    server.address = ctx.address
    return server


def complete(server):
    return sign.shown(server)["signing"] == "complete"


def wait_complete(server):
    def look():
        time.sleep(LOOK_S)
        return complete(server)
    wait_for(look, SIGNED_S, "the zone is complete")


def signed_in(ctx, path, n):
    """Seconds until the zone is complete, and the signatures that took."""
    begun = time.monotonic()
    server = start(ctx, path, n)
    wait_complete(server)
    row = {"s": time.monotonic() - begun, "signatures": sign.shown(server)["signatures"],
           "cpu_s": servers.cpu_ns(server.child.pid) / 1e9}
    ctx.crew.stop(server)
    ctx.drop(f"warming-{n}")
    return row


def questions(ctx, count):
    path = os.path.join(ctx.folder("warming"), "warm.queries")
    rng = ctx.rng("warming")
    with open(path, "w") as f:
        f.writelines(f"host{rng.randrange(min(WARM_NAMES, count)):07d}.{zones.APEX} A\n" for _ in range(20000))
    return path


def noticed(ctx, path, count):
    """Warm answers while the zone is being signed, and once it is."""
    server = start(ctx, path, "noticed")
    warm = questions(ctx, count)
    measure.dnsperf(ctx, server, warm, do=True, once=True)

    def ask():
        return latency.ask(ctx, server, CHUNK_S, [("warm", WARM_PER_S, warm, False)], do=True)["classes"]["warm"]

    signing, rest = [], []
    while not complete(server) and len(signing) < 200:
        signing.append(ask())
    wait_complete(server)
    for _ in range(max(3, len(signing))):
        rest.append(ask())
    ctx.crew.stop(server)
    ctx.drop("warming-noticed")
    return {name: latency.merged(runs) for name, runs in (("while it is signed", signing), ("then", rest)) if runs}


def run(ctx):
    count = min(NAMES_MAX, max(ctx.names))
    path = zones.plain(ctx, count)
    bare = [bare_per_s(ctx)]
    rows = []
    for n in range(1 if ctx.quick else min(3, ctx.rounds)):
        rows.append(signed_in(ctx, path, n))
        bare.append(bare_per_s(ctx))
        ctx.say(f"warming round {n + 1}: {rows[-1]['signatures']} signatures in {rows[-1]['s']:.1f} s, "
                f"bare {bare[-1]['bare']:.0f}/s")
    per_s = {way: statistics.median(b[way] for b in bare) for way in bare[0]}
    took = statistics.median(r["s"] for r in rows)
    signatures = rows[0]["signatures"]
    return {"names": count, "signatures": signatures, "s": took, "cpu_s": statistics.median(r["cpu_s"] for r in rows),
            "bare_per_s": per_s, "bare_s": signatures / per_s["bare"], "rounds": rows, "bare": bare,
            "of_bare": measure.ratio(took, signatures / per_s["bare"]), "answers": noticed(ctx, path, count)}


def table(result):
    lines = ["## Signing in the background", "",
             f"A zone of {result['names']} names, {result['signatures']} signatures by a SoftHSM token in a process of "
             f"its own, {SESSIONS} sessions, each verified: {result['s']:.1f} s from exec to complete. Bare loops of "
             f"C_SignInit, C_Sign and verify over as many sessions make {result['bare_per_s']['bare']:.0f} a second, "
             f"which would be {result['bare_s']:.1f} s: {report.ratio(result['of_bare'])} times that.", "",
             f"Answers that are signed already, {WARM_PER_S} questions a second, microseconds:", "",
             "| answers | p50 | p90 | p99 | p99.9 | max | lost |", "|---|---|---|---|---|---|---|"]
    lines += [f"| {name} | {latency.cells(r['us'])} | {r['lost']} |" for name, r in result["answers"].items()]
    return "\n".join(lines)


def judge(result):
    return [report.verdict("a zone signed by a token: of bare loops' time", result["of_bare"], 1.2)]
