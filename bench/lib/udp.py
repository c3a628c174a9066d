"""UDP: CPU time a question, by kind of answer, beside the peers and above the echo."""

import check
import measure
import report
import servers
import zones

TARGETS = ("nsd-core/signetd", "nsd-core/signetctl", "bench/echo")
WARM_S = 0.5
# Of NSD's part above the echo, and of Knot's (how much signet may take).
LIMITS = {"nsd": 0.5, "knot": 1 / 3}
JUDGED = ("hit", "nxdomain", "referral", "mix")
ECHOES = {"echo": "block", "echo-poll": "poll"}


def start_all(ctx, names, kind):
    """The servers of one kind of zone, all of them at once, warm; each is idle while another is asked."""
    path = zones.plain(ctx, names) if kind == "unsigned" else zones.signed(ctx, names)
    tag = f"-{kind}-{names}"
    started = {}
    for name in (*ctx.peers, "signet"):
        ctx.say(f"starting {name}, {kind}, {names} names")
        started[name] = servers.start(ctx, name, {zones.APEX: path}, tag)
    if kind == "signed":
        ctx.say(f"starting signet-online, {names} names")
        started["signet-online"] = servers.start(ctx, "signet-online", {zones.APEX: zones.plain(ctx, names)}, tag)
    ctx.say("asking each every name once")
    for server in started.values():
        measure.warm(ctx, server, zones.every(ctx, names), kind == "signed")
    return started


def measure_mix(ctx, names, kind, mix, started):
    """All rounds of one mix; a short one before, uncounted, that tells the answers' size."""
    do = kind == "signed"

    def ask(server):
        return lambda n: measure.load(ctx, server, zones.queries(ctx, mix, names, part=n), do)

    size = 0
    for name, server in started.items():
        row = measure.load(ctx, server, zones.queries(ctx, mix, names), do, seconds=min(WARM_S, ctx.seconds))
        if name == "signet":
            size = row["size"]
    echoes = {name: servers.start_echo(ctx, size, mode) for name, mode in ECHOES.items()}
    subjects = {name: ask(server) for name, server in {**started, **echoes}.items()}
    rows = measure.rounds(ctx, subjects, f"{names} names, {kind}, {mix}")
    ctx.crew.stop(*echoes.values())
    out = []
    for name, got in rows.items():
        row = {"names": names, "zone": kind, "mix": mix, "server": name, **measure.summary(got)}
        if name in echoes:
            batch = echoes[name].mean_batch()
            row["batch"] = {"median": batch, "min": batch, "max": batch}
        row["above"] = measure.spread([a["ns"] - b["ns"] for a, b in zip(got, rows["echo"])])
        row["rounds"] = [r["ns"] for r in got]
        out.append(row)
    return add_ratios(out)


def add_ratios(rows):
    """Each row beside those of the same mix: the whole of it, and the part above the echo."""
    by = {row["server"]: row for row in rows}
    for row in rows:
        row["of"] = {}
        for base in by:
            if base != row["server"]:
                row["of"][base] = {"ns": row["ns"]["median"] / by[base]["ns"]["median"],
                                   "above": measure.ratio(row["above"]["median"], by[base]["above"]["median"])}
    return rows


def run(ctx):
    result = {"rows": [], "servers": [], "checks": []}
    for names in ctx.names:
        for kind in ("unsigned", "signed"):
            started = start_all(ctx, names, kind)
            if ctx.generator == "dnsperf":
                result["checks"].append({"names": names, "zone": kind, "fair": check.fair(started),
                                         "answers": check.same_answers(ctx, started, names, kind == "signed")})
            else:
                result["checks"].append({"names": names, "zone": kind,
                                         "answers": check.same_answers(ctx, started, names, kind == "signed")})
            logged = check.log_octets(started)
            for mix in ctx.mixes:
                result["rows"] += measure_mix(ctx, names, kind, mix, started)
            result["checks"][-1]["logged_octets"] = check.quiet(started, logged)
            for name, server in started.items():
                result["servers"].append({
                    "names": names, "zone": kind, "server": name, "load_s": server.load_s,
                    "memory_mb": servers.memory_mb(server.child.pid), "settings": servers.settings(server)})
            ctx.crew.stop(*started.values())
    return result


def judge(result):
    """What the targets ask: the part above the blocking echo, of NSD's and of Knot's."""
    out = []
    for row in result["rows"]:
        if row["server"] not in ("signet", "signet-online") or row["mix"] not in JUDGED:
            continue
        for peer, limit in LIMITS.items():
            if peer in row["of"]:
                out.append(report.verdict(
                    f"UDP, {row['names']} names, {row['zone']}, {row['mix']}: {row['server']} above the echo, "
                    f"of {peer}'s", row["of"][peer]["above"], limit))
    return out


def rows_table(rows):
    peers = [s for s in ("nsd", "knot", "bind") if any(r["server"] == s for r in rows)]
    head = ["names", "zone", "mix", "server", "ns", "least to most", "above the echo",
            *[f"of {p}'s above" for p in peers], *[f"of {p}'s" for p in peers], "of the echo's", "answers/s", "batch",
            "octets", "lost"]
    lines = []
    for r in rows:
        of = r["of"]
        lines.append([r["names"], r["zone"], r["mix"], r["server"], report.figure(r["ns"]["median"]),
                      f"{r['ns']['min']:.0f} to {r['ns']['max']:.0f}", report.figure(r["above"]["median"]),
                      *[report.ratio(of.get(p, {}).get("above")) if not r["server"].startswith("echo") else "-"
                        for p in peers],
                      *[report.ratio(of.get(p, {}).get("ns")) for p in peers],
                      report.ratio(of.get("echo", {}).get("ns")), report.figure(r["qps"]["median"]),
                      report.ratio(r["batch"]["median"] if r["batch"] else None, 1),
                      report.figure(r["size"]["median"]), r["lost"]])
    return report.markdown(head, lines)


def table(result):
    loads = [[s["names"], s["zone"], s["server"], f"{s['load_s']:.2f}", report.figure(s["memory_mb"])]
             for s in result["servers"]]
    return ("## UDP, CPU nanoseconds a question\n\n" + rows_table(result["rows"]) + "\n\n" +
            report.markdown(["names", "zone", "server", "to serving, s", "memory, MB"], loads))


def plots(result):
    """One plot a size: by mix, each server's part above the echo."""
    out = {}
    for names in sorted({r["names"] for r in result["rows"]}):
        for kind in ("unsigned", "signed"):
            rows = [r for r in result["rows"] if r["names"] == names and r["zone"] == kind]
            groups = []
            for mix in dict.fromkeys(r["mix"] for r in rows):
                groups.append((mix, {r["server"]: r["above"]["median"] for r in rows
                                     if r["mix"] == mix and r["server"] != "echo"}))
            if groups:
                out[f"udp-{kind}-{names}.svg"] = report.bars(
                    f"UDP, {names} names, {kind}: CPU above the blocking echo", "ns a question", groups, base="nsd")
    return out
