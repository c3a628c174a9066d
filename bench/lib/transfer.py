"""Zones transferred out: how long a whole one takes, at what cost, with how much memory, and who notices."""

import contextlib
import socket
import ssl
import statistics
import struct
import threading
import time

import context  # noqa: F401  (puts tests/functional in the path)
import latency
import load
import measure
import report
import servers
import zones
from certificate import Certificate
from daemon import Signet
from peers import Knot, Nsd
from procs import free_port

TARGETS = latency.TARGETS
TLS = "signet, TLS"
READ = 1 << 20
MANY = 20            # transfers at once, whose clients do not read
TIMEOUT_S = 120
ROUNDS_MAX = 5
WARM_SHARE = 0.5     # of what the slowest of the servers can, beside transfers


def start_signet(ctx, folder, path, certificate):
    tls_port = free_port()
    server = Signet(folder, {
        "remotes": [{"name": "anybody", "address": "127.0.0.0/8"}],
        "zones": [{"name": zones.APEX, "file": path, "secondaries": ["anybody"]}],
    }, server={"workers": 1, "tls-listen": [f"{ctx.address}@{tls_port}"], "tls-certificate": certificate.certificate,
               "tls-key": certificate.key}, timeout=servers.READY_S, listen=ctx.address)
    server.tls_port = tls_port
    return server


def start_all(ctx, path, certificate):
    files = {zones.APEX: path}
    makers = {"nsd": lambda folder: Nsd(folder, files, minimal=True, address=ctx.address, transfers=True),
              "knot": lambda folder: Knot(folder, files, address=ctx.address, transfers=True),
              "signet": lambda folder: start_signet(ctx, folder, path, certificate)}
    started = {}
    for kind in [k for k in ("nsd", "knot", "signet") if k in ctx.peers or k == "signet"]:
        server = ctx.crew.start(lambda kind=kind: makers[kind](ctx.folder(f"{kind}-transfer")))
        server.kind, server.address = kind, ctx.address
        servers.wait_serving(server, zones.APEX)
        started[kind] = server
    return started


@contextlib.contextmanager
def connection(server, certificate=None):
    """To the server; over TLS where there is a certificate that it is to show."""
    port = server.port if certificate is None else server.tls_port
    sock = socket.create_connection((server.address, port), timeout=TIMEOUT_S)
    if certificate is not None:
        tls = ssl.create_default_context(cafile=certificate.certificate)
        tls.set_alpn_protocols(["dot"])
        sock = tls.wrap_socket(sock, server_hostname=certificate.name)
    with sock:
        yield sock


def ask(sock):
    question = load.wire(zones.APEX, "SOA", 1)[:-4] + struct.pack(">HH", 252, 1)
    sock.sendall(struct.pack(">H", len(question)) + question)


class Reader:
    """The messages of a transfer, counted: records by their headers, octets, messages."""

    def __init__(self, sock):
        self.sock = sock
        self.records = self.octets = self.messages = 0
        self.kept = b""

    def some(self):
        """What one read brings."""
        chunk = self.sock.recv(READ)
        if not chunk:
            raise EOFError(f"the transfer ends after {self.records} records")
        self.octets += len(chunk)
        data = self.kept + chunk
        at = 0
        while len(data) - at >= 2:
            size = struct.unpack_from(">H", data, at)[0]
            if len(data) - at - 2 < size:
                break
            rcode, count = data[at + 5] & 15, struct.unpack_from(">H", data, at + 8)[0]
            if rcode != 0:
                raise RuntimeError(f"the transfer is refused: {rcode}")
            self.records += count
            self.messages += 1
            at += 2 + size
        self.kept = data[at:]


def records_of(path):
    """Of a zone file as bench/lib/zones.py writes it, and the closing SOA."""
    with open(path, "rb") as f:
        return sum(1 for line in f if not line.startswith((b"$", b"\n"))) + 1


def whole(server, want, certificate=None):
    """One transfer: wall-clock seconds, CPU seconds of the server, octets, messages."""
    cpu = load.cpu_s(server.child.pid)
    began = time.monotonic()
    with connection(server, certificate) as sock:
        ask(sock)
        reader = Reader(sock)
        while reader.records < want:
            reader.some()
    wall = time.monotonic() - began
    return {"wall_s": wall, "cpu_s": load.cpu_s(server.child.pid) - cpu, "octets": reader.octets,
            "messages": reader.messages, "records": reader.records}


def memory_each(server):
    """Megabytes more for each of MANY transfers whose clients took one read and wait."""
    before, _ = load.settled_mb(server.child.pid)
    with contextlib.ExitStack() as stack:
        for _ in range(MANY):
            sock = stack.enter_context(connection(server))
            ask(sock)
            Reader(sock).some()
        during, _ = load.settled_mb(server.child.pid)
    return (during - before) / MANY


class Transfers:
    """One transfer after the other, in a thread, until it is told to stop."""

    def __init__(self, server, want):
        self.stopping = threading.Event()
        self.count = 0
        self.failed = None
        self.thread = threading.Thread(target=self.run, args=(server, want))

    def run(self, server, want):
        try:
            while not self.stopping.is_set():
                whole(server, want)
                self.count += 1
        except (OSError, EOFError, RuntimeError) as e:
            self.failed = e

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *unused):
        self.stopping.set()
        self.thread.join()


def beside(ctx, started, names, want):
    """How long answers take at one rate, without transfers and while there always is one."""
    questions = zones.queries(ctx, "mix", names)
    rate = WARM_SHARE * min(latency.capacity(ctx, s, questions) for s in started.values())
    classes = [("warm", rate, questions, False)]
    rows = {kind: {"quiet": [], "transfers": []} for kind in started}
    count = dict.fromkeys(started, 0)
    for n in range(min(ctx.rounds, ROUNDS_MAX)):
        for kind, server in started.items():
            rows[kind]["quiet"].append(latency.ask(ctx, server, ctx.seconds, classes)["classes"]["warm"])
            with Transfers(server, want) as t:
                rows[kind]["transfers"].append(latency.ask(ctx, server, ctx.seconds, classes)["classes"]["warm"])
            if t.failed is not None:
                raise t.failed
            count[kind] += t.count
        ctx.say(f"transfer, answers beside, round {n + 1}: " + ", ".join(
            f"{kind} p99 {r['transfers'][-1]['us']['p99']:.0f} us" for kind, r in rows.items()))
    return {"rate": rate, "transfers": count,
            "servers": {kind: {phase: latency.merged(r) for phase, r in phases.items()} for kind, phases in rows.items()}}


def run(ctx):
    names = max(ctx.names)
    path = zones.plain(ctx, names)
    certificate = Certificate(ctx.folder("transfer-tls"))
    started = start_all(ctx, path, certificate)
    want = records_of(path)
    ways = {**{kind: (server, None) for kind, server in started.items()}, TLS: (started["signet"], certificate)}
    rows = {way: [] for way in ways}
    for n in range(min(ctx.rounds, ROUNDS_MAX) + 1):
        for way, (server, shown) in ways.items():
            row = whole(server, want, shown)
            if n > 0:    # the first one is not counted
                rows[way].append(row)
        if n > 0:
            ctx.say(f"transfer round {n}: " + ", ".join(f"{way} {r[-1]['wall_s']:.2f} s" for way, r in rows.items()))
    result = {"names": names, "records": want, "ways": {
        way: {key: statistics.median(r[key] for r in got) for key in got[0]} for way, got in rows.items()}}
    for kind, server in started.items():
        result["ways"][kind]["each_mb"] = memory_each(server)
    for row in result["ways"].values():
        for key in ("wall_s", "cpu_s"):
            row[f"{key}_of_signet"] = measure.ratio(row[key], result["ways"]["signet"][key])
    result["beside"] = beside(ctx, started, min(ctx.names), want)
    ctx.crew.stop(*started.values())
    return result


def table(result):
    lines = ["## Transfers", "", f"AXFR of {result['records']} records to one client on this machine that counts and "
             f"throws away; medians. Memory: more for each of {MANY} transfers whose clients read once and wait.", "",
             "| server | wall, s | of signet's | CPU, s | of signet's | MB | messages | MB each of many |",
             "|---|---|---|---|---|---|---|---|"]
    for way, r in result["ways"].items():
        lines.append(f"| {way} | {r['wall_s']:.2f} | {report.ratio(r['wall_s_of_signet'])} | {r['cpu_s']:.2f} | "
                     f"{report.ratio(r['cpu_s_of_signet'])} | {r['octets'] / 1e6:.1f} | {r['messages']:.0f} | "
                     f"{format(r['each_mb'], '.2f') if 'each_mb' in r else '-'} |")
    got = result["beside"]
    lines += ["", f"Answers at {got['rate']:.0f} a second, without transfers and while there always is one; microseconds, "
              "medians of the rounds, of `max` the greatest. The client of the transfers has the CPUs that the others "
              "leave.", "", "| server | meanwhile | p50 | p90 | p99 | p99.9 | max | lost | transfers |",
              "|---|---|---|---|---|---|---|---|---|"]
    for kind, phases in got["servers"].items():
        for phase, r in phases.items():
            lines.append(f"| {kind} | {phase} | {latency.cells(r['us'])} | {r['lost']} | "
                         f"{got['transfers'][kind] if phase == 'transfers' else ''} |")
    return "\n".join(lines)


def judge(result):
    mine = result["ways"]["signet"]
    return [report.verdict(f"AXFR: signet's {what} of {kind}'s", mine[key] / row[key], 1)
            for kind, row in result["ways"].items() if not kind.startswith("signet")
            for key, what in (("wall_s", "time"), ("cpu_s", "CPU time"))]


def plots(result):
    groups = [("wall-clock", {way: r["wall_s"] for way, r in result["ways"].items()}),
              ("CPU", {way: r["cpu_s"] for way, r in result["ways"].items()})]
    return {"transfer.svg": report.bars(f"AXFR of {result['records']} records (less is better)", "seconds", groups)}
