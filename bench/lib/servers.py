"""Starts the servers side by side, pins them, and reads what they used: CPU time, memory, batches."""

import os
import re
import socket
import struct
import subprocess
import time

import context  # noqa: F401  (puts tests/functional in the path)
import dns.exception
import yaml
from daemon import Signet
from peers import Bind, Knot, Nsd
from procs import Process, free_port, program, wait_for

READY_S = 600
ASK_S = 0.05
COMPLETE_S = 1800


class Echo(Process):
    """bench/echo, which answers every packet with 'size' octets; mode: 'block' or 'poll'."""

    def __init__(self, ctx, folder, size, mode, threads):
        self.port = free_port()
        self.address = ctx.address
        super().__init__([ctx.program("bench/echo"), str(self.port), str(max(12, round(size))), mode, ctx.address,
                          str(threads)], folder, f"echo-{mode}")

    def wait_ready(self):
        """Until it sends back a packet."""
        probe = struct.pack(">6H", 1, 0, 1, 0, 0, 0)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.05)
            s.connect((self.address, self.port))

            def answered():
                if not self.alive():
                    raise RuntimeError(f"echo ended:\n{self.text()}")
                try:
                    s.send(probe)
                    return s.recv(8192)
                except OSError:
                    return False
            wait_for(answered, 10, "echo")
        return self

    def mean_batch(self):
        """Of all it did; once it was stopped."""
        return float(re.findall(r"mean batch ([\d.]+)", self.text())[-1])


def make_nsd(ctx, folder, zones, workers):
    return Nsd(folder, zones, minimal=True, address=ctx.address, workers=workers)


def make_knot(ctx, folder, zones, workers):
    return Knot(folder, zones, address=ctx.address, workers=workers)


def make_bind(ctx, folder, zones, workers):
    return Bind(folder, zones, address=ctx.address, workers=workers)


def make_signet(ctx, folder, zones, workers):
    return Signet(folder, {"zones": [{"name": name, "file": path} for name, path in zones.items()]},
                  server={"workers": workers}, timeout=READY_S, listen=ctx.address)


def make_signet_online(ctx, folder, zones, workers):
    """Signing with keys in files; its zones are unsigned ones."""
    conf = {"keystores": [{"name": "keys", "type": "file"}],
            "policies": [{"name": "online", "signing": "online", "ksk": {"keystore": "keys"},
                          "zsk": {"keystore": "keys"}}],
            "zones": [{"name": name, "file": path, "policy": "online"} for name, path in zones.items()]}
    return Signet(folder, conf, server={"workers": workers}, timeout=READY_S, listen=ctx.address)


MAKERS = {"nsd": make_nsd, "knot": make_knot, "bind": make_bind, "signet": make_signet,
          "signet-online": make_signet_online}
CONFIGURATION = {"nsd": "nsd.conf", "knot": "knot.conf", "bind": "named.conf", "signet": "signet.yaml",
                 "signet-online": "signet.yaml"}


def start(ctx, kind, zones, tag="", workers=1, pinned=True):
    """One server of MAKERS in a folder of its own, once it serves (and, signing, once every signature is made).

    zones: name -> path. It has .child.pid, .port, .address, .ask(), .load_s, .kind and is one of the crew.
    """
    folder = ctx.folder(f"{kind}{tag}")
    before = time.monotonic()
    server = ctx.crew.start(lambda: MAKERS[kind](ctx, folder, zones, workers))
    server.kind = kind
    server.address = ctx.address
    for zone in {next(iter(zones)), list(zones)[-1]}:
        wait_serving(server, zone)
    if kind == "signet-online":
        for zone in zones:
            wait_complete(server, zone)
    server.load_s = time.monotonic() - before
    server.folder = folder
    if pinned:
        pin(server.child.pid, [ctx.server_cpu])
    return server


def wait_serving(server, zone):
    """As wait_ready(), asking often: a question to a port that nobody has bound yet is lost."""
    def serving():
        if not server.alive():
            raise RuntimeError(f"{server.name} ended:\n{server.text()[-2000:]}")
        try:
            reply = server.ask(zone, "SOA", timeout=ASK_S)
        except (dns.exception.Timeout, OSError):
            return False
        return reply.rcode() == 0 and bool(reply.answer)
    wait_for(serving, READY_S, f"{server.name} serving {zone}")


def wait_complete(server, zone):
    """Until no signature of the zone is missing."""
    def complete():
        if not server.alive():
            raise RuntimeError(f"signetd ended:\n{server.text()}")
        return server.ctl_json("zone", "show", zone)["signing"] == "complete"
    wait_for(complete, COMPLETE_S, f"{zone} completely signed")


def start_echo(ctx, size, mode, tag="", threads=1, pinned=True):
    echo = ctx.crew.start(lambda: Echo(ctx, ctx.folder(f"echo{tag}"), size, mode, threads))
    echo.wait_ready()
    if pinned:
        pin(echo.child.pid, [ctx.server_cpu])
    return echo


def tree(pid):
    """The process and all its children's."""
    found = [pid]
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/children") as f:
            for child in f.read().split():
                found += tree(int(child))
    return found


def pin(pid, cpus):
    """All threads of the process and of its children."""
    for one in tree(pid):
        for task in os.listdir(f"/proc/{one}/task"):
            os.sched_setaffinity(int(task), cpus)


def cpu_ns(pid):
    """CPU time of a process, its threads and its children, by the scheduler. What ended meanwhile is not in it."""
    total = 0
    for one in tree(pid):
        for task in os.listdir(f"/proc/{one}/task"):
            with open(f"/proc/{one}/task/{task}/schedstat") as f:
                total += int(f.read().split()[0])
    return total


def memory_mb(pid):
    """Resident memory of a process and its children, what they share counted once (Pss)."""
    total = 0
    for one in tree(pid):
        with open(f"/proc/{one}/smaps_rollup") as f:
            total += int(re.search(r"^Pss:\s+(\d+)", f.read(), re.M).group(1))
    return total / 1024


def peak_mb(pid):
    """The largest resident set that a process had (VmHWM), and the sum over its children."""
    total = 0
    for one in tree(pid):
        with open(f"/proc/{one}/status") as f:
            total += int(re.search(r"^VmHWM:\s+(\d+)", f.read(), re.M).group(1))
    return total / 1024


def batches(server):
    """(questions over UDP, batches they came in) since the start; None for a server that does not count them."""
    if not isinstance(server, Signet):
        return None
    workers = server.ctl_json("status")["workers"]
    return workers["udp_queries"], workers["udp_batches"]


def settings(server):
    """The configuration as it ran, for the record; of many zones the first."""
    path = os.path.join(server.folder, CONFIGURATION[server.kind])
    with open(path) as f:
        text = f.read()
    if server.kind.startswith("signet"):
        conf = yaml.safe_load(text)
        conf["zones"] = conf["zones"][:1]
        text = yaml.safe_dump(conf, sort_keys=False)
    return text.replace(server.folder, ".")[:4000]


def versions():
    """What each program says of itself."""
    commands = {"nsd": ["nsd", "-v"], "knot": ["knotd", "--version"], "bind": ["named", "-v"],
                "dnsperf": ["dnsperf", "-h"], "dnssec-signzone": ["dnssec-signzone", "-V"],
                "openssl": ["openssl", "version"], "gcc": ["gcc", "--version"]}
    found = {}
    for name, argv in commands.items():
        try:
            done = subprocess.run([program(argv[0]), *argv[1:]], capture_output=True, text=True, timeout=20)
        except (FileNotFoundError, subprocess.TimeoutExpired):
            found[name] = None
            continue
        lines = [line for line in (done.stdout + done.stderr).splitlines() if re.search(r"\d\.\d", line)]
        found[name] = lines[0].strip() if lines else None
    return found
