"""TCP: questions for each second of CPU, on connections that stay and with one question a connection."""

import check
import measure
import report
import servers
import udp
import zones

TARGETS = udp.TARGETS
CLIENTS = 20
# name -> (zone, mix, options of dnsperf)
WAYS = {"kept": {}, "one question each": {"per_connection": 1}}


def run(ctx):
    names = ctx.names[0]
    result = {"names": names, "clients": CLIENTS, "rows": [], "settings": {}}
    for kind in ("unsigned", "signed"):
        started = udp.start_all(ctx, names, kind)
        logged = check.log_octets(started)
        for way, options in WAYS.items():
            subjects = {}
            for name, server in started.items():
                subjects[name] = lambda n, server=server: measure.load(
                    ctx, server, zones.queries(ctx, "mix", names, part=n), kind == "signed", tcp=True, clients=CLIENTS,
                    **options)
            rows = measure.rounds(ctx, subjects, f"TCP, {kind}, {way}")
            base = {name: measure.spread([1e9 / r["ns"] for r in got]) for name, got in rows.items()}
            for name, got in rows.items():
                result["rows"].append({
                    "zone": kind, "way": way, "server": name, **measure.summary(got), "per_cpu_second": base[name],
                    "of": {other: base[name]["median"] / base[other]["median"] for other in base if other != name}})
        check.quiet(started, logged)
        result["settings"][kind] = {name: servers.settings(server) for name, server in started.items()}
        ctx.crew.stop(*started.values())
    return result


def judge(result):
    return [report.verdict(f"TCP, {r['zone']}, {r['way']}: {r['server']}'s questions a CPU-second, of NSD's",
                           r["of"].get("nsd"), 1, at_least=True)
            for r in result["rows"] if r["server"].startswith("signet")]


def table(result):
    lines = [[r["zone"], r["way"], r["server"], report.figure(r["per_cpu_second"]["median"]),
              f"{r['per_cpu_second']['min']:.0f} to {r['per_cpu_second']['max']:.0f}", report.ratio(r["of"].get("nsd")),
              report.ratio(r["of"].get("knot")), report.figure(r["qps"]["median"]), r["lost"]] for r in result["rows"]]
    return (f"## TCP, {result['names']} names, the mix, {result['clients']} connections\n\n"
            "Where few answers came in a second, server and dnsperf waited for each other, and what is counted is a "
            "server that is woken for each question.\n\n" +
            report.markdown(["zone", "connections", "server", "questions a CPU-second", "least to most", "of NSD's",
                             "of Knot's", "answers/s", "lost"], lines))


def plots(result):
    groups = [(f"{kind}, {way}", {r["server"]: r["per_cpu_second"]["median"] for r in result["rows"]
                                  if r["zone"] == kind and r["way"] == way})
              for kind in ("unsigned", "signed") for way in WAYS]
    return {"tcp.svg": report.bars("TCP: questions for each second of CPU (more is better)", "questions", groups,
                                   base="nsd")}
