"""Signing a whole zone with keys in files, beside kzonesign, dnssec-signzone, ldns-signzone and the bare signature."""

import json
import os
import re
import shutil
import statistics
import subprocess
import time

import context  # noqa: F401  (puts tests/functional in the path)
import load
import measure
import report
import zones
from daemon import Signet
from procs import program, wait_for

TARGETS = ("bench/bench_sign",)
NAMES_MAX = 100000
ROUNDS_MAX = 3
TOOL_S = 900
SPEED_S = 2


def speed(ctx, processes=1):
    """P-256 signatures a second by openssl speed, of that many processes together."""
    argv = [program("openssl"), "speed", "-seconds", "1" if ctx.quick else str(SPEED_S)]
    argv += ["-multi", str(processes)] if processes > 1 else []
    done = subprocess.run([*argv, "ecdsap256"], capture_output=True, text=True, timeout=60, check=True)
    # "256 bits ecdsa (nistp256)   0.0000s   0.0001s  50225.6  15575.9", the last two sign/s and verify/s
    found = re.search(r"^\s*256 bits ecdsa.*?([\d.]+)\s+[\d.]+\s*$", done.stdout, re.M)
    return float(found.group(1))


def tool(argv, folder):
    """Wall-clock and CPU seconds of a program that ends by itself; all its threads count."""
    with open(os.path.join(folder, "out"), "w") as out:
        before = os.times()
        start = time.monotonic()
        done = subprocess.run(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                              timeout=TOOL_S)
        wall = time.monotonic() - start
        after = os.times()
    if done.returncode != 0:
        with open(out.name, errors="replace") as f:
            raise RuntimeError(f"{argv[0]}: {done.returncode}: {f.read()[-1000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall_s": wall, "cpu_s": cpu}


def signatures(path):
    """RRSIG records in a zone file."""
    word = re.compile(rb"\sRRSIG\s+(?!NSEC)[A-Z]|\sRRSIG\s+NSEC\s+13\s")
    with open(path, "rb") as f:
        return sum(1 for line in f if word.search(line))


def keygen(folder, *more):
    done = subprocess.run([program("dnssec-keygen"), "-q", "-a", "ECDSAP256SHA256", "-K", folder, *more, zones.APEX],
                          check=True, capture_output=True, text=True)
    return done.stdout.strip()


def dnssec_signzone(folder, path, cores):
    keygen(folder)
    keygen(folder, "-f", "KSK")
    out = os.path.join(folder, "signed")
    row = tool([program("dnssec-signzone"), "-q", "-S", "-P", "-n", str(cores), "-K", folder, "-d", folder, "-o",
                zones.APEX, "-f", out, path], folder)
    return {**row, "signatures": signatures(out)}


def ldns_signzone(folder, path, cores):
    """It knows one thread."""
    keys = []
    for more in ([], ["-k"]):
        done = subprocess.run([program("ldns-keygen"), "-a", "ECDSAP256SHA256", *more, zones.APEX], cwd=folder,
                              check=True, capture_output=True, text=True)
        keys.append(os.path.join(folder, done.stdout.strip()))
    out = os.path.join(folder, "signed")
    row = tool([program("ldns-signzone"), "-o", zones.APEX, "-f", out, path, *keys], folder)
    return {**row, "signatures": signatures(out)}


def kzonesign(folder, path, cores):
    conf = os.path.join(folder, "knot.conf")
    zone = os.path.join(folder, "zone")
    shutil.copyfile(path, zone)
    with open(conf, "w") as f:
        f.write(f"""server:
  rundir: "{folder}"
database:
  storage: "{folder}/db"
policy:
  - id: bench
    algorithm: ecdsap256sha256
    signing-threads: {cores}
zone:
  - domain: "{zones.APEX}"
    storage: "{folder}"
    file: "zone"
    dnssec-signing: on
    dnssec-policy: bench
    zonemd-generate: none
    semantic-checks: off
""")
    outdir = os.path.join(folder, "out.d")
    os.makedirs(outdir)
    os.makedirs(os.path.join(folder, "db"))
    row = tool([program("kzonesign"), "-c", conf, "-o", outdir, zones.APEX], folder)
    return {**row, "signatures": signatures(os.path.join(outdir, os.listdir(outdir)[0]))}


def signet(folder, path, policy):
    """From exec to serving; with a policy it signs all before it serves. Then what a dump takes more."""
    conf = {"zones": [{"name": zones.APEX, "file": path}]}
    if policy:
        conf = {"keystores": [{"name": "keys", "type": "file"}],
                "policies": [{"name": "bench", "signing": policy, "ksk": {"keystore": "keys"},
                              "zsk": {"keystore": "keys"}}],
                "zones": [{"name": zones.APEX, "file": path, "policy": "bench"}]}
    start = time.monotonic()
    # As many threads sign as there may be workers: all CPUs, as the tools beside it take them.
    server = Signet(folder, conf, server={"workers": len(os.sched_getaffinity(0))}, wait=False)
    try:
        with load.Probe(server) as probe:
            probe.until(f"host{0:07d}.{zones.APEX}", "10.0.0.0", start)
            if policy:
                wait_for(lambda: shown(server)["signing"] == "complete", TOOL_S, "signed")
        row = {"wall_s": time.monotonic() - start, "cpu_s": load.cpu_s(server.child.pid), "signatures": 0}
        if policy:
            row["signatures"] = shown(server)["signatures"]
            dump = time.monotonic()
            server.ctl("zone", "dump", zones.APEX)
            row["dump_s"] = time.monotonic() - dump
    finally:
        server.stop()
    return row


def shown(server):
    """Of a zone; before the control socket is there, nothing."""
    done = server.ctl("zone", "list", "--json", check=False)
    if done.returncode != 0:
        return {"signing": None}
    got = json.loads(done.stdout)
    return (got["zones"] if isinstance(got, dict) else got)[0]


SIGNERS = {"kzonesign": kzonesign, "dnssec-signzone": dnssec_signzone, "ldns-signzone": ldns_signzone,
           "signet": lambda folder, path, cores: signet(folder, path, "eager"),
           "signet, not signing": lambda folder, path, cores: signet(folder, path, None)}


def installed(name):
    return name.startswith("signet") or shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is not None


def medians(rows):
    return {key: statistics.median(r[key] for r in rows) for key in rows[0]}


def compare(ctx, names, cores):
    path = zones.plain(ctx, names)
    signers = {name: run for name, run in SIGNERS.items() if installed(name)}
    rows = {name: [] for name in signers}
    yardstick = []
    for n in range(1 if ctx.quick else min(ctx.rounds, ROUNDS_MAX)):
        yardstick.append({"one": speed(ctx), "all": speed(ctx, cores)})
        for name, sign in signers.items():
            folder = ctx.folder(f"sign-{n}-{name.replace(', ', '-').replace(' ', '-')}")
            rows[name].append(sign(folder, path, cores))
            shutil.rmtree(folder, ignore_errors=True)
        ctx.say(f"signing round {n + 1}: " + " ".join(f"{k} {r[-1]['wall_s']:.2f} s" for k, r in rows.items()))
    out = {name: {**medians(got), "rounds": got} for name, got in rows.items()}
    return medians(yardstick), out


def library(ctx, names):
    """The signing itself, beside a bare loop of signatures in the same run."""
    bench = ctx.program("bench/bench_sign")
    if not os.path.exists(bench):
        return None
    done = subprocess.run([bench, "--names", str(names), "--rounds", "1" if ctx.quick else "3", "--json"],
                          capture_output=True, text=True, timeout=TOOL_S, check=True)
    return json.loads(done.stdout)


def run(ctx):
    names = min(max(ctx.names), NAMES_MAX)
    cores = len(os.sched_getaffinity(0))
    yardstick, signers = compare(ctx, names, cores)
    bound = yardstick["one"] * cores
    idle = signers["signet, not signing"]
    for name, row in signers.items():
        row["per_s"] = row["signatures"] / row["wall_s"]
        row["per_cpu_s"] = row["signatures"] / row["cpu_s"]
        row["of_signet"] = measure.ratio(row["wall_s"], signers["signet"]["wall_s"])
        row["of_openssl"] = row["per_s"] / bound
    # What it takes to read and serve the zone is in both: the rest is signing.
    count, rest = signers["signet"]["signatures"], {}
    for key in ("wall_s", "cpu_s"):
        rest[key] = max(signers["signet"][key] - idle[key], 1e-9)
    rest.update(per_s=count / rest["wall_s"], per_cpu_s=count / rest["cpu_s"])
    rest["of_openssl"] = rest["per_s"] / bound
    rest["of_openssl_multi"] = rest["per_s"] / yardstick["all"]
    return {"names": names, "cores": cores, "openssl": yardstick, "signers": signers, "signing": rest,
            "library": library(ctx, names)}


def table(result):
    speeds = result["openssl"]
    lines = ["## Signing a zone", "",
             f"A zone of {result['names']} names, ECDSA P-256, NSEC, keys in files, {result['cores']} CPUs. Whole "
             "programs: reading, signing, and for the tools writing the file (signet serves it; its `zone dump` took "
             f"{result['signers']['signet']['dump_s']:.2f} s more). `openssl speed ecdsap256`: {speeds['one']:.0f} "
             f"signatures a second on one CPU, {speeds['all']:.0f} with -multi {result['cores']}.", "",
             "| signer | wall, s | CPU, s | signatures | a second | a CPU-second | of openssl speed x CPUs | "
             "of signet's time |", "|---|---|---|---|---|---|---|---|"]
    for name, r in result["signers"].items():
        lines.append(f"| {name} | {r['wall_s']:.2f} | {r['cpu_s']:.2f} | {r['signatures']:.0f} | {r['per_s']:.0f} | "
                     f"{r['per_cpu_s']:.0f} | {r['of_openssl']:.2f} | {r['of_signet']:.2f} |")
    r = result["signing"]
    lines += [f"| signet, the signing alone | {r['wall_s']:.2f} | {r['cpu_s']:.2f} | | {r['per_s']:.0f} | "
              f"{r['per_cpu_s']:.0f} | {r['of_openssl']:.2f} | |"]
    if result["library"]:
        lines += ["", "bench_sign: the library by itself, beside a bare loop over the same key.", "",
                  "| what | threads | CPU ns | a second | of bare |", "|---|---|---|---|---|"]
        lines += [f"| {x['what']} | {x['threads']} | {x['cpu_ns']:.0f} | {x['per_second']:.0f} | {x['of_bare']:.3f} |"
                  for x in result["library"] if "threads" in x]
    return "\n".join(lines)


def judge(result):
    mine = result["signers"]["signet"]
    out = [report.verdict("whole-zone signing: of openssl speed times CPUs", result["signing"]["of_openssl"], 0.9,
                          at_least=True)]
    out += [report.verdict(f"whole-zone signing: signet's time of {name}'s", mine["wall_s"] / r["wall_s"], 1)
            for name, r in result["signers"].items() if not name.startswith("signet")]
    return out


def plots(result):
    rows = {k: r for k, r in result["signers"].items() if r["signatures"]}
    groups = [(what, {k: r[key] for k, r in rows.items()})
              for what, key in (("wall-clock", "wall_s"), ("CPU", "cpu_s"))]
    return {"sign.svg": report.bars(f"Signing {result['names']} names (less is better)", "seconds", groups,
                                    base="kzonesign")}
