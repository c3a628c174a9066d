"""The same servers under kxdpgun, which does not wait for answers: at a rate that all can bear, and at one that none
can."""

import dataclasses

import measure
import netns
import report
import servers
import udp
import zones

TARGETS = udp.TARGETS
MIXES = ("hit", "nxdomain", "mix")
OVERLOAD = 1000000
OTHERS = ("nsd", "knot", "echo")
OF = ("of NSD's", "of Knot's", "of the echo's")


def overload(ctx, names, kind, started):
    """Answers a second of a whole CPU, when more is asked than anybody answers."""
    size = measure.load(ctx, started["signet"], zones.queries(ctx, "mix", names), kind == "signed")["size"]
    everyone = {**started, **{name: servers.start_echo(ctx, size, mode) for name, mode in udp.ECHOES.items()}}
    subjects = {name: lambda n, server=server: measure.load(
        ctx, server, zones.queries(ctx, "mix", names, part=n), kind == "signed", qps=OVERLOAD)
        for name, server in everyone.items()}
    rows = measure.rounds(ctx, subjects, f"XDP, {kind}, overload")
    ctx.crew.stop(*[everyone[name] for name in udp.ECHOES])
    found = [{"zone": kind, "server": name, **measure.summary(got)} for name, got in rows.items()]
    by = {row["server"]: row for row in found}
    for row in found:
        row["of"] = {name: {key: measure.ratio(row[key]["median"], other[key]["median"]) for key in ("qps", "ns")}
                     for name, other in by.items()}
    return found


def run(ctx):
    """Moves the process to a network namespace: what runs afterwards runs there."""
    if ctx.holder is None:
        state = netns.probe(ctx)
        if not state["works"]:
            return {"works": False, "why": state["why"]}
        ctx = dataclasses.replace(ctx, generator="kxdpgun")
        netns.enter(ctx)
    names = ctx.names[0]
    result = {"works": True, "names": names, "rate": ctx.rate, "overload": [], "rows": [], "servers": []}
    for kind in ("unsigned", "signed"):
        started = udp.start_all(ctx, names, kind)
        for mix in MIXES if not ctx.quick else MIXES[-1:]:
            result["rows"] += udp.measure_mix(ctx, names, kind, mix, started)
        result["overload"] += overload(ctx, names, kind, started)
        ctx.crew.stop(*started.values())
    return result


def table(result):
    if not result["works"]:
        return f"## kxdpgun\n\nIt does not work here: {result['why']}"
    lines = [[r["zone"], r["server"], report.figure(r["qps"]["median"]),
              f"{r['qps']['min']:.0f} to {r['qps']['max']:.0f}",
              *[report.ratio(r["of"].get(other, {}).get("qps")) for other in OTHERS], report.figure(r["ns"]["median"]),
              *[report.ratio(r["of"].get(other, {}).get("ns")) for other in OTHERS],
              report.ratio(r["batch"]["median"] if r["batch"] else None, 1)] for r in result["overload"]]
    return (f"## kxdpgun, {result['rate']} questions a second over a veth pair\n\n" + udp.rows_table(result["rows"]) +
            f"\n\n## kxdpgun, {OVERLOAD} questions a second, the mix: what one CPU answers\n\n" +
            report.markdown(["zone", "server", "answers/s", "least to most", *OF, "CPU ns an answer", *OF, "batch"],
                            lines))


def plots(result):
    if not result["works"]:
        return {}
    groups = [(kind, {r["server"]: r["qps"]["median"] for r in result["overload"] if r["zone"] == kind})
              for kind in ("unsigned", "signed")]
    return {"udp-overload.svg": report.bars("What one CPU answers, of a million questions a second", "answers a second",
                                            groups, base="nsd")}
