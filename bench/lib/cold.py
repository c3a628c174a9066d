"""Answers whose signatures are not there yet: what they cost, and what becomes of the others meanwhile.

Every start finds its signatures unmade, and signs the zone from its front in the background; asked are names from its
end, none of them twice. The background threads run in the scheduler's idle class and on the worker's CPU, so that they
take from the worker next to nothing; what is counted is the worker's own CPU time.
"""

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
from procs import Server, free_port, program

TARGETS = ("bench/bench_sign", "bench/echo", *latency.TARGETS)
COLD_S = 1.5          # of questions, at the rate expected
COLD_PER_S = 40000    # of a server that signs at openssl's rate
WARM_NAMES = 1000
WARM_SHARE = 0.4      # of the warm capacity, beside cold ones
COLD_SHARE = 0.2      # of the cold capacity
MORE_MAX = 2.5        # times as much more warm ones: no more than the worker can
KINDS = ("hit", "nxdomain")
# An answer that comes alone wakes the client, which costs the sender more than the packet: at full speed the client is
# never asleep. What a cold answer is compared with is the echo at the rate that cold answers came.
PACED = "echo, as fast as signet"
PHASES = ("warm", "warm and cold", "warm, as busy")


class KnotOnline(Server):
    """Knot DNS that signs what is asked (mod-onlinesign)."""

    def __init__(self, folder, files, address):
        self.port = free_port()
        self.address = address
        conf = os.path.join(folder, "knot.conf")
        os.makedirs(os.path.join(folder, "db"), exist_ok=True)
        with open(conf, "w") as f:
            f.write(f"""server:
  rundir: "{folder}"
  listen: {address}@{self.port}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
log:
  - target: stderr
    any: warning
database:
  storage: "{folder}/db"
policy:
  - id: online
    algorithm: ecdsap256sha256
mod-onlinesign:
  - id: online
    policy: online
template:
  - id: default
    semantic-checks: off
    zonefile-sync: -1
    journal-content: none
    module: mod-onlinesign/online
zone:
""")
            for name, path in files.items():
                f.write(f'  - domain: "{name}"\n    file: "{path}"\n')
        super().__init__([program("knotd"), "-c", conf], folder, "knotd")


class Names:
    """Questions from the end of the zone, each given out once."""

    def __init__(self, ctx, names):
        self.ctx = ctx
        self.names = names
        self.used = 0
        self.files = 0

    def take(self, kind, count):
        """A file of 'count' questions of names not asked before; of fewer where the zone has no more."""
        count = max(1, min(int(count), self.names - self.used))
        first = self.names - self.used - count
        self.used = (self.used + count) % self.names
        numbers = list(range(first, first + count))
        self.ctx.rng(first).shuffle(numbers)
        self.files += 1
        path = os.path.join(self.ctx.folder("cold"), f"{kind}-{self.files}.queries")
        # A name between two of the zone: its NSEC is that of the host before it, and no other's.
        beside = "x" if kind == "nxdomain" else ""
        with open(path, "w") as f:
            f.writelines(f"host{i:07d}{beside}.{zones.APEX} A\n" for i in numbers)
        return path

    def share(self):
        """Of the zone, from its front, that was not asked yet."""
        return 1 - self.used / self.names


def threads(pid):
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm") as f:
            yield int(task), f.read().strip()


def worker_ns(server):
    """CPU of the threads that answer."""
    total = 0
    for task, name in threads(server.child.pid):
        if name.startswith("worker"):
            with open(f"/proc/{server.child.pid}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
    return total


def stand_back(server):
    """Everything but the workers into the idle class."""
    for task, name in threads(server.child.pid):
        if not name.startswith("worker"):
            try:
                os.sched_setscheduler(task, os.SCHED_IDLE, os.sched_param(0))
            except ProcessLookupError:
                pass


def start_signet(ctx, path, tag):
    """Serving, on one CPU, its background threads standing back."""
    server = ctx.crew.start(lambda: servers.make_signet_online(ctx, ctx.folder(f"signet{tag}"), {zones.APEX: path}, 1))
    server.address = ctx.address
    servers.pin(server.child.pid, [ctx.server_cpu])
    stand_back(server)
    return server


def made(server):
    """Signatures made since the start, and all that the zone wants."""
    status = server.ctl_json("status")
    return sum(k["signatures"] for k in status["keystores"])


def cold_run(ctx, server, names, kind, used):
    """One run over names not asked before: ns of CPU an answer, answers a CPU-second."""
    path = names.take(kind, (100 if ctx.quick else COLD_S * COLD_PER_S))
    before = used()
    got = measure.dnsperf(ctx, server, path, do=True, once=True)
    ns = (used() - before) / max(got["done"], 1)
    return {"ns": ns, "per_cpu_s": 1e9 / ns if ns else 0, "qps": got["qps"], "done": got["done"], "lost": got["lost"],
            "size": got["size"]}


def cold_round(ctx, path, count, n):
    """Every kind of question once, at signet and at Knot, and the echo of signet's sizes."""
    rows = {}
    names = Names(ctx, count)
    server = start_signet(ctx, path, f"-cold-{n}")
    for kind in KINDS:
        rows["signet", kind] = cold_run(ctx, server, names, kind, lambda: worker_ns(server))
    signatures = made(server)
    left = names.share()
    # Each name wants about two signatures, its own and its NSEC's; the background ones come from the front.
    for kind in KINDS:
        rows["signet", kind]["cold"] = signatures < 2 * count * left
        rows["signet", kind]["signatures_made"] = signatures
    ctx.crew.stop(server)
    ctx.drop(f"signet-cold-{n}")
    for kind in KINDS:
        echo = servers.start_echo(ctx, rows["signet", kind]["size"], "block", f"-cold-{kind}")
        questions = Names(ctx, count).take(kind, 100 if ctx.quick else COLD_S * COLD_PER_S)
        rows["echo", kind] = cold_run_echo(ctx, echo, questions)
        rows[PACED, kind] = cold_run_echo(ctx, echo, questions, rows["signet", kind]["qps"])
        ctx.crew.stop(echo)
    knot = ctx.crew.start(lambda: KnotOnline(ctx.folder(f"knot-cold-{n}"), {zones.APEX: path}, ctx.address))
    knot.wait_ready([zones.APEX], timeout=servers.READY_S)
    servers.pin(knot.child.pid, [ctx.server_cpu])
    names = Names(ctx, count)
    for kind in KINDS:
        rows["knot", kind] = cold_run(ctx, knot, names, kind, lambda: servers.cpu_ns(knot.child.pid))
    ctx.crew.stop(knot)
    ctx.drop(f"knot-cold-{n}")
    return rows


def cold_run_echo(ctx, echo, questions, rate=None):
    before = servers.cpu_ns(echo.child.pid)
    got = measure.dnsperf(ctx, echo, questions, do=True, once=True, qps=int(rate) if rate else None)
    return {"ns": (servers.cpu_ns(echo.child.pid) - before) / max(got["done"], 1), "qps": got["qps"],
            "done": got["done"], "lost": got["lost"], "size": got["size"]}


def signature_ns(ctx):
    """CPU of one signature: the bare loop of bench_sign, or where it is not built that of openssl speed."""
    bench = ctx.program("bench/bench_sign")
    if os.path.exists(bench):
        done = subprocess.run([bench, "--names", "1000", "--threads", "1", "--json"], capture_output=True, text=True,
                              timeout=sign.TOOL_S, check=True)
        rows = json.loads(done.stdout)
        return next(x["cpu_ns"] for x in rows if x["what"] == "bare"), rows
    return 1e9 / sign.speed(ctx), None


def warm_questions(ctx, count):
    """Of few names, so that they are signed after a first run."""
    path = os.path.join(ctx.folder("cold"), "warm.queries")
    rng = ctx.rng("warm")
    with open(path, "w") as f:
        f.writelines(f"host{rng.randrange(min(WARM_NAMES, count)):07d}.{zones.APEX} A\n" for _ in range(20000))
    return path


def tail_run(ctx, server, classes):
    """One run: of the warm ones, and of the cold ones where there are any; with the share of a CPU that the worker had."""
    before = worker_ns(server)
    got = latency.ask(ctx, server, ctx.seconds, classes, do=True)
    busy = (worker_ns(server) - before) / (ctx.seconds * 1e9)
    rows = {name: {**row, "late_us": got["late_us"], "busy": busy} for name, row in got["classes"].items()}
    return rows["warm"], rows.get("cold")


def tail(ctx, path, count, cold_per_s):
    """Warm answers alone, beside cold ones, and alone with the worker as busy as beside cold ones."""
    server = start_signet(ctx, path, "-tail")
    names = Names(ctx, count)
    warm = warm_questions(ctx, count)
    measure.dnsperf(ctx, server, warm, do=True, once=True)
    capacity = latency.capacity(ctx, server, warm, do=True)
    rate, cold_rate = WARM_SHARE * capacity, COLD_SHARE * cold_per_s
    more = COLD_SHARE * capacity
    runs = {phase: [] for phase in PHASES}
    beside = []
    for n in range(ctx.rounds + 1):
        cold = names.take("hit", cold_rate * ctx.seconds * 1.1)
        rows = [tail_run(ctx, server, [("warm", rate, warm, False)]),
                tail_run(ctx, server, [("warm", rate, warm, False), ("cold", cold_rate, cold, True)]),
                tail_run(ctx, server, [("warm", rate + more, warm, False)])]
        busy = [row["busy"] for row, _ in rows]
        if n == 0:   # tells how many more warm ones keep the worker as busy
            more *= min(max((busy[1] - busy[0]) / max(busy[2] - busy[0], 0.01), 0.5), MORE_MAX)
            continue
        for phase, (row, _) in zip(PHASES, rows):
            runs[phase].append(row)
        beside.append(rows[1][1])
        ctx.say(f"cold round {n}, p99 of warm answers: " +
                ", ".join(f"{p} {r[-1]['us']['p99']:.0f} us ({r[-1]['busy']:.0%})" for p, r in runs.items()))
    signatures = made(server)
    result = {"rate": rate, "cold_rate": cold_rate, "capacity": capacity,
              "cold": signatures < 2 * count * names.share(),
              "phases": {p: latency.merged(r) for p, r in runs.items()}, "cold answers": latency.merged(beside),
              "runs": runs}
    for phase, rows in runs.items():
        result["phases"][phase]["busy"] = statistics.median(r["busy"] for r in rows)
    for key in ("p99", "p99.9"):
        of = {phase: r["us"][key] for phase, r in result["phases"].items()}
        result[f"{key}_of_warm"] = measure.ratio(of[PHASES[1]], of[PHASES[0]])
        result[f"{key}_of_as_busy"] = measure.ratio(of[PHASES[1]], of[PHASES[2]])
    ctx.crew.stop(server)
    ctx.drop("signet-tail")
    return result


def run(ctx):
    count = max(ctx.names)
    path = zones.plain(ctx, count)
    bare_ns, library = signature_ns(ctx)
    rows = {}
    for n in range(ctx.rounds):
        start = time.monotonic()
        for key, row in cold_round(ctx, path, count, n).items():
            rows.setdefault(key, []).append(row)
        ctx.say(f"cold round {n + 1}: " + ", ".join(f"{s} {k} {r[-1]['ns']:.0f} ns" for (s, k), r in rows.items()) +
                f" ({time.monotonic() - start:.0f} s)")
    kinds = {}
    for kind in KINDS:
        ns = {s: statistics.median(r["ns"] for r in rows[s, kind]) for s in ("signet", "knot", "echo", PACED)}
        kinds[kind] = {"ns": ns, "per_cpu_s": {s: 1e9 / v for s, v in ns.items() if v},
                       "above_ns": ns["signet"] - ns[PACED] - bare_ns,
                       "above_full_echo_ns": ns["signet"] - ns["echo"] - bare_ns,
                       "of_knot": measure.ratio(ns["signet"], ns["knot"]),
                       "cold": all(r["cold"] for r in rows["signet", kind]),
                       "lost": sum(r["lost"] for r in rows["signet", kind]),
                       "rounds": {s: rows[s, kind] for s in ns}}
    cold_per_s = kinds["hit"]["per_cpu_s"]["signet"]
    return {"names": count, "signature_ns": bare_ns, "bench_sign": library, "kinds": kinds,
            "tail": tail(ctx, path, count, cold_per_s),
            "powerdns": "not measured: it wants a database of its own to be set up"}


def table(result):
    lines = ["## Signing while serving", "",
             f"Keys in files, ECDSA P-256; a zone of {result['names']} names, one worker; a signature is "
             f"{result['signature_ns']:.0f} ns by the bare loop. One signature an answer; Knot's NXDOMAIN (a compact "
             "denial) has two. CPU of the thread that answers.", "",
             "| question | server | ns | answers a CPU-second | above signature and echo as fast, ns | and echo at "
             "full speed, ns | of Knot's |", "|---|---|---|---|---|---|---|"]
    for kind, r in result["kinds"].items():
        for server, ns in r["ns"].items():
            mine = server == "signet"
            lines.append(f"| {kind}{'' if r['cold'] or not mine else ' (some were warm)'} | {server} | {ns:.0f} | "
                         f"{r['per_cpu_s'].get(server, 0):.0f} | {format(r['above_ns'], '.0f') if mine else '-'} | "
                         f"{format(r['above_full_echo_ns'], '.0f') if mine else '-'} | "
                         f"{format(r['of_knot'], '.2f') if mine and r['of_knot'] else '-'} |")
    got = result["tail"]
    lines += ["", f"Warm answers at {got['rate']:.0f} a second ({WARM_SHARE:.0%} of what the worker can), beside "
              f"{got['cold_rate']:.0f} cold ones, and with more warm ones instead, until the worker is as busy; microseconds, medians of "
              "the rounds, of `max` the greatest." + ("" if got["cold"] else " (Some of the cold ones were warm.)"), "",
              "| answers | p50 | p90 | p99 | p99.9 | max | lost | worker busy |", "|---|---|---|---|---|---|---|---|"]
    for phase, r in got["phases"].items():
        lines.append(f"| {phase} | {latency.cells(r['us'])} | {r['lost']} | {r['busy']:.0%} |")
    lines.append(f"| the cold ones | {latency.cells(got['cold answers']['us'])} | {got['cold answers']['lost']} | |")
    return "\n".join(lines)


def judge(result):
    """A signature takes 20 us of the worker whoever waits: what cold answers may not do is wait before warm ones longer
    than as much other work does."""
    out = [report.verdict(f"cold {kind}: ns above the echo, as fast, and the signature", r["above_ns"], 3000)
           for kind, r in result["kinds"].items()]
    out += [report.verdict(f"{key} of warm answers beside cold ones, of that with a worker as busy",
                           result["tail"][f"{key}_of_as_busy"], 1.2) for key in ("p99", "p99.9")]
    return out


def plots(result):
    groups = [(kind, {k: v for k, v in r["per_cpu_s"].items() if not k.startswith("echo")})
              for kind, r in result["kinds"].items()]
    return {"cold.svg": report.bars("Answers never asked before (more is better)", "answers for each second of CPU",
                                    groups, base="knot")}
