"""kxdpgun, which sends through XDP: from a network namespace of its own, over a veth pair to that of the servers."""

import ctypes
import os
import re
import subprocess
import sys

import context
from procs import Process, program, wait_for

CLONE_NEWNET = 0x40000000
SERVER, LOADER = "10.53.0.2", "10.53.0.1"
NEAR, FAR = "bench0", "bench1"
PROBE_S = 60
SLACK_S = 30


def ip(*words, inside=None):
    """ip(8), in the namespace of the process 'inside', or in ours."""
    enter_it = [program("nsenter"), "-t", str(inside), "-n"] if inside else []
    subprocess.run([*enter_it, program("ip"), *words], check=True, capture_output=True, text=True, timeout=20)


def enter(ctx):
    """This process, and what it starts from now on, moves to a namespace of its own, whose other end is the
    generator's. Both are gone with the processes in them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    ip("link", "set", "lo", "up")
    holder = ctx.crew.start(lambda: Process([program("unshare"), "-n", program("sleep"), "infinity"], ctx.work, "holder"))
    ours = os.readlink("/proc/self/ns/net")
    wait_for(lambda: os.readlink(f"/proc/{holder.child.pid}/ns/net") != ours, 10, "a namespace for the generator")
    ip("link", "add", NEAR, "type", "veth", "peer", "name", FAR, "netns", str(holder.child.pid))
    for name, address, inside in ((NEAR, SERVER, None), (FAR, LOADER, holder.child.pid)):
        ip("addr", "add", f"{address}/24", "dev", name, inside=inside)
        ip("link", "set", name, "up", inside=inside)
    ip("link", "set", "lo", "up", inside=holder.child.pid)
    ctx.address = SERVER
    ctx.holder = holder


def templates(path, do):
    """kxdpgun wants its flags in each line: D for EDNS with DO, E for EDNS alone."""
    out = path + (".xdp-do" if do else ".xdp")
    if not os.path.exists(out):
        with open(path) as f, open(out, "w") as g:
            g.writelines(line.rstrip("\n") + (" D\n" if do else "\n") for line in f)
    return out


def kxdpgun(ctx, server, queries, do=False, seconds=None, rate=None):
    """One run; as measure.dnsperf(). Its rate is fixed, so that what was not answered was dropped by the kernel."""
    seconds = max(1, round(seconds or ctx.seconds))
    argv = ["taskset", "-c", str(ctx.load_cpu), program("nsenter"), "-t", str(ctx.holder.child.pid), "-n",
            program("kxdpgun"), "-t", str(seconds), "-Q", str(rate or ctx.rate), "-F", f"{ctx.load_cpu}s1", "-p",
            str(server.port), "-i", templates(queries, do), server.address]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=seconds + SLACK_S)
    if done.returncode != 0:
        raise RuntimeError(f"kxdpgun: {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}")

    def number(pattern):
        found = re.search(pattern, done.stdout)
        return int(found.group(1)) if found else 0
    sent, replies = number(r"total queries:\s+(\d+)"), number(r"total replies:\s+(\d+)")
    return {"done": replies, "lost": sent - replies, "qps": replies / seconds, "latency_us": None,
            "size": number(r"average DNS reply size:\s+(\d+)")}


def probe(ctx):
    """Whether this machine lets kxdpgun work so: tried for a second, in a process of its own."""
    script = os.path.abspath(__file__)
    argv = [sys.executable, script, ctx.program("bench/echo"), ctx.folder("probe"), str(ctx.load_cpu)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PROBE_S)
    except subprocess.TimeoutExpired:
        return {"works": False, "why": "it did not end"}
    last = (done.stdout + done.stderr).strip().splitlines()[-1:]
    return {"works": done.returncode == 0, "why": last[0] if last else ""}


def probe_main(echo_path, folder, load_cpu):
    import servers  # which imports much; only here
    with context.Crew() as crew:
        ctx = context.Context(names=[], rounds=1, seconds=1, work=folder, crew=crew, rate=1000, load_cpu=int(load_cpu))
        ctx.build = os.path.dirname(os.path.dirname(echo_path))
        enter(ctx)
        echo = servers.start_echo(ctx, 100, "block")
        path = os.path.join(folder, "probe.queries")
        with open(path, "w") as f:
            f.write("probe.test A\n")
        row = kxdpgun(ctx, echo, path)
    print(f"{row['done']} answers for {row['done'] + row['lost']} questions")
    return 0 if row["done"] > 0 else 1


if __name__ == "__main__":
    sys.exit(probe_main(*sys.argv[1:]))
