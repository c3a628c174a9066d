"""Scale: CPU time a question by names, by zones and by workers."""

import measure
import report
import servers
import udp
import zones

TARGETS = udp.TARGETS
NAMES = (1000, 10000, 100000, 1000000)
ZONES = (1, 100, 10000)
ZONES_NAMES = 100000   # of all zones together
WORKERS = (1, 2)
MIXES = ("hit", "mix")
FLAT, WORKERS_LIMIT = 1.15, 1.1
# With two workers the generator shares both CPUs: a fixed rate that leaves room for it, equal for each worker so that
# batches are like, and all it can.
RATES = {"all it can": None, "20,000/s a worker": 20000}
ECHO = "workers of the echo"
CLIENTS = 16           # flows: enough for the kernel to spread over two sockets


def ladder(ctx, axis, steps, ways):
    """The servers of all steps at once, idle while another is asked.

    steps: step -> (server, function(mix, round) that gives the questions' file); ways: name -> function(step) that
    gives options of measure.load.
    """
    rows = []
    for mix in MIXES:
        for way, options in ways.items():
            subjects = {str(step): lambda n, step=step, server=server, ask=ask: measure.load(
                ctx, server, ask(mix, n), **options(step)) for step, (server, ask) in steps.items()}
            for subject in subjects.values():
                subject(0)
            got = measure.rounds(ctx, subjects, f"{axis}, {mix}{way and ', ' + way}")
            first = measure.summary(next(iter(got.values())))
            for step, of_step in got.items():
                row = {"axis": axis, "step": int(step), "mix": mix, "way": way, **measure.summary(of_step)}
                row["of_smallest"] = row["ns"]["median"] / first["ns"]["median"]
                # Noise goes up only: the cheapest round of each is the fairer comparison on a busy machine.
                row["of_smallest_least"] = row["ns"]["min"] / first["ns"]["min"]
                rows.append(row)
    return rows


def by_names(ctx):
    steps = {}
    for names in [n for n in NAMES if n <= max(ctx.names)] or ctx.names:
        server = servers.start(ctx, "signet", {zones.APEX: zones.plain(ctx, names)}, f"-names-{names}")
        measure.warm(ctx, server, zones.every(ctx, names))
        steps[names] = server, lambda mix, n, names=names: zones.queries(ctx, mix, names, part=n)
    rows = ladder(ctx, "names", steps, {"": lambda step: {}})
    ctx.crew.stop(*[server for server, _ in steps.values()])
    return rows


def by_zones(ctx):
    steps = {}
    total = min(ZONES_NAMES, max(ctx.names))
    for count in [c for c in ZONES if c * 10 <= total]:
        files = zones.many(ctx, count, total)
        server = servers.start(ctx, "signet", files, f"-zones-{count}")
        steps[count] = server, lambda mix, n, count=count, files=files: zones.queries(
            ctx, mix, total // count, apexes=tuple(files), part=n)
    rows = ladder(ctx, "zones", steps, {"": lambda step: {}})
    ctx.crew.stop(*[server for server, _ in steps.values()])
    return rows


def by_workers(ctx):
    """Both free to use both CPUs, as is the generator; and the echo in their place, which tells the kernel's part."""
    steps = {}
    names = min(ctx.names)
    cpus = [ctx.server_cpu, ctx.load_cpu]
    for workers in WORKERS:
        server = servers.start(ctx, "signet", {zones.APEX: zones.plain(ctx, names)}, f"-workers-{workers}", workers,
                               pinned=False)
        steps[workers] = server, lambda mix, n: zones.queries(ctx, mix, names, part=n)
    ways = {way: lambda step, rate=rate: {"cpus": cpus, "clients": CLIENTS, "qps": rate and rate * step}
            for way, rate in RATES.items()}
    rows = ladder(ctx, "workers", steps, ways)
    ctx.crew.stop(*[server for server, _ in steps.values()])
    size = rows[-1]["size"]["median"]
    echoes = {workers: (servers.start_echo(ctx, size, "poll", f"-{workers}", workers, pinned=False), ask)
              for workers, (_, ask) in steps.items()}
    rows += ladder(ctx, ECHO, echoes, ways)
    ctx.crew.stop(*[echo for echo, _ in echoes.values()])
    return rows


def run(ctx):
    return {"rows": by_names(ctx) + by_zones(ctx) + by_workers(ctx), "zones_names": min(ZONES_NAMES, max(ctx.names))}


def judge(result):
    out = []
    for r in result["rows"]:
        if r["of_smallest"] == 1 or r["axis"] == ECHO:
            continue
        limit = WORKERS_LIMIT if r["axis"] == "workers" else FLAT
        out.append(report.verdict(f"scale, {r['step']} {r['axis']}, {r['mix']}{r['way'] and ', ' + r['way']}: CPU a "
                                  "question, of the smallest's", r["of_smallest"], limit))
    return out


def table(result):
    lines = [[r["axis"], r["step"], r["mix"], r["way"] or "all it can", report.figure(r["ns"]["median"]),
              f"{r['ns']['min']:.0f} to {r['ns']['max']:.0f}", report.ratio(r["of_smallest"]),
              report.ratio(r["of_smallest_least"]), report.figure(r["qps"]["median"]),
              report.ratio(r["batch"]["median"] if r["batch"] else None, 1), r["lost"]] for r in result["rows"]]
    return ("## Scale, signet, unsigned\n\n"
            f"Zones: {result['zones_names']} names over all of them. Workers: server and generator share both CPUs; "
            "the server's CPU time alone is counted. What a question costs depends on the batch it comes in, so "
            "compare steps of like batches.\n\n" +
            report.markdown(["by", "step", "mix", "rate", "ns a question", "least to most", "of the smallest's",
                             "least of least", "answers/s", "batch", "lost"], lines))


def plots(result):
    out = {}
    for axis in ("names", "zones", "workers"):
        rows = [r for r in result["rows"] if r["axis"] == axis]
        groups = [(f"{mix}{way and ', ' + way}", {str(r["step"]): r["ns"]["median"] for r in rows
                                                  if r["mix"] == mix and r["way"] == way})
                  for mix, way in dict.fromkeys((r["mix"], r["way"]) for r in rows)]
        if groups:
            base = str(rows[0]["step"])
            out[f"scale-{axis}.svg"] = report.bars(f"CPU a question by {axis}", "ns", groups, base=base)
    return out
