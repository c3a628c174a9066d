"""Loading: how long until a server answers, and with how much memory; an edited file; ten thousand zones."""

import collections
import json
import os
import re
import select
import socket
import statistics
import struct
import subprocess
import time

import context  # noqa: F401  (puts tests/functional in the path)
import latency
import measure
import report
import servers
import zones
from daemon import SIGNETCTL, Signet

TARGETS = ("bench/bench_add", "bench/bench_load", *latency.TARGETS)
POLL_S = 0.002
SERVED_S = 600
SETTLE_S = 20        # at most, for memory to come to rest
REST_S = 0.5         # that long without a change of more than REST_MB is rest
REST_MB = 1
ROUNDS_MAX = 3       # of what takes seconds each
TOOL_S = 900
MANY = 10000
WINDOW = 200         # zones asked at once
EDITS = ("one added", "1 % changed")
NEW = "added"        # the name that is new in an edited file


def wire(name, rdtype, number):
    """A question in wire form; of types what is needed here."""
    labels = b"".join(struct.pack("B", len(x)) + x.encode() for x in name.split("."))
    kind = {"A": 1, "SOA": 6}[rdtype]
    return struct.pack(">6H", number, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


class Probe:
    """Asks one server again and again over UDP, without ever waiting longer than a few milliseconds."""

    def __init__(self, server):
        self.server = server
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.socket.connect((server.address, server.port))
        self.socket.setblocking(False)

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.socket.close()

    def send(self, question):
        try:
            self.socket.send(question)
        except OSError:      # nobody listens there yet
            pass

    def answers(self, wait_s):
        """What has come, after at most wait_s without any."""
        if not select.select([self.socket], [], [], wait_s)[0]:
            return
        while True:
            try:
                yield self.socket.recv(4096)
            except OSError:
                return

    def check(self, since, what):
        if not self.server.alive():
            raise RuntimeError(f"{self.server.name} ended:\n{self.server.text()[-2000:]}")
        if time.monotonic() - since > SERVED_S:
            raise TimeoutError(f"{self.server.name}: {what} not within {SERVED_S} s")

    def until(self, name, address, since):
        """Seconds from 'since' until 'name' A has this address in its answer."""
        question = wire(name, "A", 1)
        want = socket.inet_aton(address)
        while True:
            next_s = time.monotonic() + POLL_S
            self.send(question)
            for answer in self.answers(POLL_S):
                if answer[3] & 15 == 0 and answer.endswith(want):
                    return time.monotonic() - since
            self.check(since, name)
            # A server that answers otherwise does so at once: it is not to be kept busy by this.
            time.sleep(max(0, next_s - time.monotonic()))

    def until_all(self, apexes, since):
        """Seconds until the first of the zones is served, and until all are."""
        questions = {i: wire(apex, "SOA", i) for i, apex in enumerate(apexes)}
        waiting = collections.deque(questions)
        served = set()
        first = None
        while waiting:
            # Before the first answer one question at a time: it is not to cost the server anything.
            asked = [waiting.popleft() for _ in range(min(len(waiting), WINDOW if served else 1))]
            next_s = time.monotonic() + POLL_S
            for i in asked:
                self.send(questions[i])
            fresh = set()
            while len(fresh) < len(asked):
                got = [struct.unpack(">H", a[:2])[0] for a in self.answers(POLL_S) if a[3] & 15 == 0 and a[7] > 0]
                if not got:
                    break
                fresh.update(got)
            served |= fresh
            if fresh and first is None:
                first = time.monotonic() - since
            waiting.extend(i for i in asked if i not in served)
            self.check(since, "all zones")
            if not fresh:
                time.sleep(max(0, next_s - time.monotonic()))
        return first, time.monotonic() - since


def cpu_s(pid):
    """CPU seconds of a process and its children, of threads and children that ended as well."""
    total = 0.0
    for one in servers.tree(pid):
        # The clock of another process, as clock_getcpuclockid(3) makes it: threads that ended count.
        total += time.clock_gettime((~one << 3) | 2)
        with open(f"/proc/{one}/stat") as f:
            ended = f.read().rsplit(")", 1)[1].split()[13:15]
        total += sum(map(int, ended)) / os.sysconf("SC_CLK_TCK")
    return total


def settled_mb(pid):
    """Memory once it rests; how long that took."""
    start = changed = time.monotonic()
    last = servers.memory_mb(pid)
    while time.monotonic() - changed < REST_S and time.monotonic() - start < SETTLE_S:
        time.sleep(0.05)
        now = servers.memory_mb(pid)
        if abs(now - last) > REST_MB:
            last, changed = now, time.monotonic()
    return servers.memory_mb(pid), changed - start


def peak_reset(pid):
    """From now on peak_mb() is that of what follows. False where the kernel does not let us."""
    try:
        with open(f"/proc/{pid}/clear_refs", "w") as f:
            f.write("5")
        return True
    except OSError:
        return False


def begin(ctx, kind, files, tag):
    """The server just started, without waiting for it, and when that was."""
    folder = ctx.folder(f"{kind}{tag}")
    before = time.monotonic()
    if kind == "signet":
        conf = {"zones": [{"name": name, "file": path} for name, path in files.items()]}
        server = Signet(folder, conf, server={"workers": 1}, wait=False, listen=ctx.address)
    else:
        server = servers.MAKERS[kind](ctx, folder, files, 1)
    server.address = ctx.address
    return ctx.crew.add(server), before


def start_once(ctx, kind, path, names, n):
    """One start: until a name in the middle of the zone is answered."""
    server, before = begin(ctx, kind, {zones.APEX: path}, f"-load-{n}")
    i = names // 2
    with Probe(server) as probe:
        wall = probe.until(f"host{i:07d}.{zones.APEX}", f"10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}", before)
    cpu = cpu_s(server.child.pid)
    peak = servers.peak_mb(server.child.pid)
    memory, _ = settled_mb(server.child.pid)
    row = {"wall_s": wall, "cpu_s": cpu, "memory_mb": memory, "peak_mb": max(peak, servers.peak_mb(server.child.pid))}
    ctx.crew.stop(server)
    ctx.drop(f"{kind}-load-{n}")
    return row


def medians(rows):
    return {key: statistics.median(r[key] for r in rows) for key in rows[0] if isinstance(rows[0][key], (int, float))}


def starts(ctx, names):
    path = zones.plain(ctx, names)
    kinds = [*ctx.peers, *(["bind"] if "bind" not in ctx.peers and not ctx.quick else []), "signet"]
    rows = {kind: [] for kind in kinds}
    for n in range(min(ctx.rounds, ROUNDS_MAX)):
        for kind in kinds:
            rows[kind].append(start_once(ctx, kind, path, names, n))
        ctx.say(f"load round {n + 1}: " + " ".join(f"{k} {r[-1]['wall_s']:.2f} s" for k, r in rows.items()))
    out = {kind: {**medians(got), "rounds": got} for kind, got in rows.items()}
    for row in out.values():
        row["of_signet"] = measure.ratio(row["wall_s"], out["signet"]["wall_s"])
    return out


class Edited:
    """A zone file that is edited, as an operator would: a new file in the old one's place."""

    def __init__(self, path, source, names):
        with open(source, "rb") as f:
            self.text = f.read()
        self.path = path
        self.names = names
        self.serial = 1
        self.added = 0
        self.replace()

    def replace(self):
        with open(self.path + ".new", "wb") as f:
            f.write(self.text)
        os.replace(self.path + ".new", self.path)

    def next_serial(self):
        old, self.serial = self.serial, self.serial + 1
        self.text = self.text.replace(b" hostmaster %d " % old, b" hostmaster %d " % self.serial, 1)

    def marker(self):
        """A new name, by which the new version is known."""
        self.added += 1
        address = f"192.0.2.{100 + self.added % 100}"
        self.text += f"{NEW}{self.added} A {address}\n".encode()
        return f"{NEW}{self.added}.{zones.APEX}", address

    def add(self):
        """One record more; the question and the address that tell it."""
        self.next_serial()
        found = self.marker()
        self.replace()
        return found

    def change(self):
        """Another address for each hundredth host (and a record that tells it)."""
        self.next_serial()
        found = self.marker()
        octet = self.serial % 200 + 20
        self.text = re.sub(rb"(?m)^(host\d{5}00 A )\d+", lambda m: m.group(1) + b"%d" % octet, self.text)
        self.replace()
        return found


def reload_once(ctx, server, edit, probe):
    """Edits the file, and times from the command to the first answer of the new version."""
    pid = server.child.pid
    name, address = edit()
    before_mb, _ = settled_mb(pid)
    reset = peak_reset(pid)
    # Counted as the peak is: what is shared with other programs is in both.
    before_peak_mb = servers.peak_mb(pid) if reset else None
    cpu = cpu_s(pid)
    before = time.monotonic()
    ctl = subprocess.Popen([SIGNETCTL, "-c", server.conf_path, "zone", "reload", zones.APEX],
                           stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        wall = probe.until(name, address, before)
        cpu = cpu_s(pid) - cpu
        said = ctl.communicate(timeout=SERVED_S)[0]
    finally:
        if ctl.poll() is None:
            ctl.kill()
            ctl.communicate()
    if ctl.returncode != 0:
        raise RuntimeError(f"signetctl zone reload: {ctl.returncode}: {said[-500:]}")
    after_mb, rest_s = settled_mb(pid)
    peak_mb = servers.peak_mb(pid) if reset else None
    return {"wall_s": wall, "cpu_s": cpu, "before_mb": before_mb, "peak_mb": peak_mb, "after_mb": after_mb,
            "rest_s": rest_s, "peak_of_before": measure.ratio(peak_mb, before_peak_mb)}


def reload_loaded(ctx, server, edit, probe, questions, rate):
    """The same while it is asked at half of what it can: how long answers take before, meanwhile and after."""
    name, address = edit()
    asker = latency.Asker(ctx, server, SERVED_S, [("warm", rate, questions, False)])
    time.sleep(ctx.seconds)
    asker.phase()
    before = time.monotonic()
    server.ctl("zone", "reload", zones.APEX)
    wall = probe.until(name, address, before)
    asker.phase()
    time.sleep(ctx.seconds)
    got = asker.result(early=True)
    phases = dict(zip(("quiet", "reload", "after"), got["phases"]))
    return {"wall_s": wall, "late_us": got["late_us"],
            "phases": {k: {**v["classes"]["warm"], "seconds": v["seconds"]} for k, v in phases.items()}}


def loaded_rounds(rounds):
    """Medians over rounds: a single one tells as much of what else the machine did."""
    return {"wall_s": statistics.median(r["wall_s"] for r in rounds), "rounds": rounds,
            "phases": {k: latency.merged([r["phases"][k] for r in rounds]) for k in rounds[0]["phases"]}}


def reloads(ctx, names, load_s):
    """signet, one worker, bound to no CPU: the reading has what the machine has."""
    path = os.path.join(ctx.folder("edited"), "zone")
    edited = Edited(path, zones.plain(ctx, names), names)
    questions = zones.queries(ctx, "mix", names)
    server, before = begin(ctx, "signet", {zones.APEX: path}, "-reload")
    with Probe(server) as probe:
        probe.until(f"host{0:07d}.{zones.APEX}", "10.0.0.0", before)
        loaded_mb, _ = settled_mb(server.child.pid)
        out = {"loaded_mb": loaded_mb}
        for what, edit in zip(EDITS, (edited.add, edited.change)):
            rows = []
            for n in range(min(ctx.rounds, ROUNDS_MAX)):
                rows.append(reload_once(ctx, server, edit, probe))
                ctx.say(f"reload, {what}, round {n + 1}: {rows[-1]['wall_s']:.2f} s, {rows[-1]['before_mb']:.0f} MB, "
                        f"peak {rows[-1]['peak_mb'] or 0:.0f} MB, then {rows[-1]['after_mb']:.0f} MB")
            out[what] = {**medians(rows), "rounds": rows, "of_load": measure.ratio(medians(rows)["wall_s"], load_s),
                         "peak_of_before": max((x for x in (r["peak_of_before"] for r in rows) if x), default=None),
                         "after_of_loaded": measure.ratio(rows[-1]["after_mb"], loaded_mb)}
        rate = latency.SHARE * latency.capacity(ctx, server, questions)
        out["rate"] = rate
        for what, edit in zip(EDITS, (edited.add, edited.change)):
            out[what]["half load"] = loaded_rounds([reload_loaded(ctx, server, edit, probe, questions, rate)
                                                    for _ in range(ctx.rounds)])
            ctx.say(f"reload at {rate:.0f} questions/s, {what}: p99.9 " + ", ".join(
                f"{k} {v['us']['p99.9']:.0f} us, lost {v['lost']}"
                for k, v in out[what]["half load"]["phases"].items()))
    ctx.crew.stop(server)
    ctx.drop("edited")
    return out


def many(ctx):
    """Small zones: until each was answered for."""
    count = 100 if ctx.quick else MANY
    files = zones.many(ctx, count, count * 10)
    out = {}
    for kind in [*ctx.peers, "signet"]:
        server, before = begin(ctx, kind, files, "-many")
        with Probe(server) as probe:
            first, last = probe.until_all(list(files), before)
        out[kind] = {"first_s": first, "all_s": last, "cpu_s": cpu_s(server.child.pid),
                     "memory_mb": settled_mb(server.child.pid)[0]}
        ctx.say(f"{count} zones: {kind} {last:.2f} s")
        ctx.crew.stop(server)
        ctx.drop(f"{kind}-many")
    for row in out.values():
        row["of_signet"] = measure.ratio(row["all_s"], out["signet"]["all_s"])
    return {"zones": count, "servers": out}


def library(ctx, names):
    """What reading, sorting, checking and building cost, without a server: bench_load; and one record: bench_add."""
    out = {}
    load = ctx.program("bench/bench_load")
    if os.path.exists(load):
        done = subprocess.run([load, "--names", str(names), "--reload", "--json"], capture_output=True, text=True,
                              timeout=TOOL_S, check=True)
        out["bench_load"] = json.loads(done.stdout)
    add = ctx.program("bench/bench_add")
    if os.path.exists(add):
        done = subprocess.run([add, str(names)], capture_output=True, text=True, timeout=TOOL_S, check=True)
        out["bench_add"] = done.stdout
    return out


def run(ctx):
    names = max(ctx.names)
    result = {"names": names, "starts": starts(ctx, names)}
    result["reloads"] = reloads(ctx, names, result["starts"]["signet"]["wall_s"])
    result["many"] = many(ctx)
    result["library"] = library(ctx, names)
    return result


def number(value, form):
    return "-" if value is None else format(value, form)


def table(result):
    lines = ["## Loading", "", f"A zone of {result['names']} names, unsigned. From exec to the first right answer; "
             "CPU of all threads and children until then; memory is Pss once it rests, the peak VmHWM.", "",
             "| server | wall, s | CPU, s | memory, MB | peak, MB | of signet's time |", "|---|---|---|---|---|---|"]
    for kind, r in result["starts"].items():
        lines.append(f"| {kind} | {r['wall_s']:.2f} | {r['cpu_s']:.2f} | {r['memory_mb']:.0f} | {r['peak_mb']:.0f} | "
                     f"{number(r['of_signet'], '.2f')} |")
    reload = result["reloads"]
    lines += ["", f"signet, the edited file read again ({reload['loaded_mb']:.0f} MB before the first); until the new "
              "record is answered.", "",
              "| edit | wall, s | CPU, s | of the load | peak, MB | of before | afterwards, MB | of loaded |",
              "|---|---|---|---|---|---|---|---|"]
    for what in EDITS:
        r = reload[what]
        lines.append(f"| {what} | {r['wall_s']:.2f} | {r['cpu_s']:.2f} | {number(r['of_load'], '.2f')} | "
                     f"{number(max((x['peak_mb'] or 0 for x in r['rounds'])), '.0f')} | "
                     f"{number(r['peak_of_before'], '.2f')} | {r['rounds'][-1]['after_mb']:.0f} | "
                     f"{number(r['after_of_loaded'], '.2f')} |")
    lines += ["", f"Answers meanwhile, at half of what one worker can ({reload['rate']:.0f} a second), microseconds; "
              "medians over the rounds, of `max` the greatest.",
              "", "| edit | phase | p50 | p90 | p99 | p99.9 | max | lost |", "|---|---|---|---|---|---|---|---|"]
    for what in EDITS:
        for phase, r in reload[what]["half load"]["phases"].items():
            lines.append(f"| {what} | {phase} | {latency.cells(r['us'])} | {r['lost']} |")
    lines += ["", f"{result['many']['zones']} zones.", "",
              "| server | first, s | all, s | CPU, s | memory, MB | of signet's time |", "|---|---|---|---|---|---|"]
    for kind, r in result["many"]["servers"].items():
        lines.append(f"| {kind} | {r['first_s']:.2f} | {r['all_s']:.2f} | {r['cpu_s']:.2f} | {r['memory_mb']:.0f} | "
                     f"{number(r['of_signet'], '.2f')} |")
    return "\n".join(lines + library_table(result["library"]))


def library_table(library):
    lines = []
    if "bench_load" in library:
        lines += ["", "bench_load: the library's part, wall-clock and CPU.", "", "| step | wall, ms | CPU, ms |",
                  "|---|---|---|"]
        lines += [f"| {s['step']} | {s['wall_ms']:.0f} | {s['cpu_ms']:.0f} |" for s in library["bench_load"]["steps"]]
    if "bench_add" in library:
        lines += ["", "bench_add: one record put in, frozen and published, by the library alone (a record reaches the "
                  "server in an edited file only, so that the 20 ms are measured without reading it).", "", "```",
                  library["bench_add"].rstrip(), "```"]
    return lines


def judge(result):
    """Seconds and megabytes are those of a million names; ratios hold for any size."""
    mine = result["starts"]["signet"]
    out = []
    if result["names"] == 1000000:
        out += [report.verdict("1,000,000 names: seconds to serving", mine["wall_s"], 1.5),
                report.verdict("1,000,000 names: megabytes", mine["memory_mb"], 300)]
    for kind, r in result["starts"].items():
        if kind != "signet":
            out.append(report.verdict(f"loading: signet's time of {kind}'s", mine["wall_s"] / r["wall_s"], 1))
    for what in EDITS:
        r = result["reloads"][what]
        during = r["half load"]["phases"]["reload"]
        out += [report.verdict(f"reload, {what}: time, of the load", r["of_load"], 1.3),
                report.verdict(f"reload, {what}: peak of memory, of before", r["peak_of_before"], 1.6),
                report.verdict(f"reload, {what}: memory afterwards, of before", r["after_of_loaded"], 1.05),
                report.verdict(f"reload, {what}: p99.9 of answers at half load, ms", during["us"]["p99.9"] / 1000, 5),
                report.verdict(f"reload, {what}: questions lost", during["lost"], 0)]
    added = re.search(r"add one record\s+\d+ times\s+(\d+) ns median", result["library"].get("bench_add", ""))
    out.append(report.verdict("one record put in and published by the library, ms",
                              int(added.group(1)) / 1e6 if added else None, 20))
    return out


def plots(result):
    starts = result["starts"]
    many = result["many"]
    groups = [(f"{result['names']} names, to the first answer", {k: r["wall_s"] for k, r in starts.items()}),
              (f"{many['zones']} zones, to the last answer", {k: r["all_s"] for k, r in many["servers"].items()})]
    memory = [("resident", {k: r["memory_mb"] for k, r in starts.items()}),
              ("peak", {k: r["peak_mb"] for k, r in starts.items()})]
    return {"load.svg": report.bars("Loading (less is better)", "seconds", groups, base="nsd"),
            "memory.svg": report.bars(f"Memory with {result['names']} names (less is better)", "MB", memory,
                                      base="nsd")}
