"""Writers of zones and of questions. What was written once in a run is written no second time."""

import os
import subprocess

import context  # noqa: F401  (puts tests/functional in the path)
from procs import program

APEX = "bench.test"
SIGN_S = 3600
KINDS = ("hit", "nxdomain", "referral", "nodata", "wildcard")
MIXES = (*KINDS, "mix")
# Percent of each kind in "mix", about what authoritative servers see.
WEIGHTS = {"hit": 70, "nxdomain": 12, "nodata": 10, "referral": 6, "wildcard": 2}


def write_zone(path, names, apex=APEX):
    """names hosts with A, every second one with AAAA, every tenth a cut with glue beside: 1.7 records a name."""
    with open(path, "w") as f:
        f.write(f"$ORIGIN {apex}.\n$TTL 3600\n@ SOA ns1 hostmaster 1 7200 3600 1209600 300\n@ NS ns1\n@ NS ns2\n"
                "ns1 A 192.0.2.1\nns2 A 192.0.2.2\n*.wild A 192.0.2.3\n")
        for i in range(names):
            f.write(f"host{i:07d} A 10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}\n")
            if i % 2 == 0:
                f.write(f"host{i:07d} AAAA 2001:db8::{i >> 16:x}:{i & 65535:x}\n")
            if i % 10 == 0:
                f.write(f"cut{i:07d} NS ns.cut{i:07d}\nns.cut{i:07d} A 192.0.2.9\n")


def write_chain(path, names):
    """The zone of write_zone() with the NSECs that signing would give it, and nothing signed."""
    owners = [("@", "NS SOA RRSIG NSEC DNSKEY")]
    owners += [(f"cut{i:07d}", "NS RRSIG NSEC") for i in range(0, names, 10)]
    owners += [(f"host{i:07d}", "A AAAA RRSIG NSEC" if i % 2 == 0 else "A RRSIG NSEC") for i in range(names)]
    owners += [("ns1", "A RRSIG NSEC"), ("ns2", "A RRSIG NSEC"), ("*.wild", "A RRSIG NSEC")]
    write_zone(path, names)
    with open(path, "a") as f:
        for i, (owner, types) in enumerate(owners):
            f.write(f"{owner} 300 NSEC {owners[(i + 1) % len(owners)][0]} {types}\n")


def sign_file(folder, path, apex=APEX, options=()):
    """dnssec-signzone with one KSK and one ZSK of P-256; the signed file's path."""
    keys = ["-q", "-a", "ECDSAP256SHA256", "-K", folder]
    for flags in ([], ["-f", "KSK"]):
        subprocess.run([program("dnssec-keygen"), *keys, *flags, apex], check=True, capture_output=True)
    signed = path + ".signed"
    subprocess.run([program("dnssec-signzone"), "-q", "-S", "-K", folder, "-d", folder, "-P", "-o", apex, "-f", signed,
                    *options, path], check=True, capture_output=True, timeout=SIGN_S)
    return signed


def plain(ctx, names):
    """The path of the unsigned zone of that size, of the apex APEX."""
    key = ("plain", names)
    if key not in ctx.zones:
        path = os.path.join(ctx.folder("zones"), f"plain-{names}.zone")
        ctx.say(f"writing a zone of {names} names")
        write_zone(path, names)
        ctx.zones[key] = path
    return ctx.zones[key]


def chained(ctx, names):
    """The path of the same zone with its chain of NSECs, unsigned."""
    key = ("chained", names)
    if key not in ctx.zones:
        path = os.path.join(ctx.folder("zones"), f"chained-{names}.zone")
        write_chain(path, names)
        ctx.zones[key] = path
    return ctx.zones[key]


def signed(ctx, names):
    """The path of the same zone, signed by dnssec-signzone."""
    key = ("signed", names)
    if key not in ctx.zones:
        path = plain(ctx, names)
        ctx.say(f"signing the zone of {names} names with dnssec-signzone")
        ctx.zones[key] = sign_file(ctx.folder(f"keys-{names}"), path)
    return ctx.zones[key]


def many(ctx, count, names):
    """name -> path: count zones that have 'names' names together."""
    key = ("many", count, names)
    if key not in ctx.zones:
        folder = ctx.folder(f"zones/many-{count}")
        ctx.say(f"writing {count} zones of {names // count} names")
        ctx.zones[key] = {}
        for i in range(count):
            apex = f"z{i:05d}.test"
            path = os.path.join(folder, apex + ".zone")
            write_zone(path, names // count, apex)
            ctx.zones[key][apex] = path
    return ctx.zones[key]


def question(kind, rng, names, apex):
    """One line of a generator's file."""
    if kind == "hit":
        return f"host{rng.randrange(names):07d}.{apex} A\n"
    if kind == "nodata":
        return f"host{rng.randrange(names):07d}.{apex} TXT\n"
    if kind == "nxdomain":
        return f"x{rng.randrange(1 << 30)}.{apex} A\n"
    if kind == "referral":
        return f"www.cut{rng.randrange(max(names // 10, 1)) * 10:07d}.{apex} A\n"
    return f"x{rng.randrange(1 << 30)}.wild.{apex} A\n"


def write_queries(path, mix, rng, names, count, apexes=(APEX,)):
    """Random names, so that nothing is asked in order; names: those of each zone."""
    kinds = [mix] * count if mix != "mix" else rng.choices(list(WEIGHTS), list(WEIGHTS.values()), k=count)
    with open(path, "w") as f:
        f.writelines(question(kind, rng, names, apexes[rng.randrange(len(apexes))]) for kind in kinds)
    return path


def queries(ctx, mix, names, count=None, apexes=(APEX,), part=0):
    """The file of questions of a mix; other parts ask other names, so that no round repeats another's."""
    count = count or (20000 if ctx.quick else 200000)
    key = ("queries", mix, names, count, len(apexes), apexes[0], part)
    if key not in ctx.zones:
        name = "-".join(str(x) for x in key[1:]) + ".queries"
        rng = ctx.rng(repr(key))
        ctx.zones[key] = write_queries(os.path.join(ctx.folder("queries"), name), mix, rng, names, count, apexes)
    return ctx.zones[key]


def every(ctx, names, apex=APEX):
    """A file that asks every host and every cut of the zone once, in random order."""
    key = ("every", names, apex)
    if key not in ctx.zones:
        path = os.path.join(ctx.folder("queries"), f"every-{names}-{apex}.queries")
        lines = [f"host{i:07d}.{apex} A\n" for i in range(names)]
        lines += [f"www.cut{i:07d}.{apex} A\n" for i in range(0, names, 10)]
        ctx.rng(repr(key)).shuffle(lines)
        with open(path, "w") as f:
            f.writelines(lines)
        ctx.zones[key] = path
    return ctx.zones[key]
