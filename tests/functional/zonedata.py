"""The zones that the differential and the validation tests serve, and how they are signed elsewhere."""

import os
import re
import subprocess

import dns.name
import dns.rdatatype
import dns.zone

from procs import program

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "zones")

# apex -> (template, how it is signed)
ZONES = {
    "nasty.test": ("nasty", None),
    "nsec.test": ("nasty", []),
    "nsec3.test": ("nasty", ["-3", "-", "-H", "0"]),
    "nsec3salt.test": ("nasty", ["-3", "beef", "-H", "3"]),
    "optout.test": ("nasty", ["-3", "-", "-H", "0", "-A"]),
    "sub.nasty.test": ("sub", None),
    "sub.nsec.test": ("sub", []),
    "sub.nsec3.test": ("sub", ["-3", "-", "-H", "0"]),
    "other.test": ("other", None),
}


def sign(folder, apex, path, options):
    """dnssec-signzone with one KSK and one ZSK; the signed file's path."""
    keys = []
    for flags in ([], ["-f", "KSK"]):
        out = subprocess.run([program("dnssec-keygen"), "-q", "-a", "ECDSAP256SHA256", "-K", folder, *flags, apex],
                             check=True, capture_output=True, text=True)
        keys.append(out.stdout.strip())
    signed = path + ".signed"
    subprocess.run([program("dnssec-signzone"), "-q", "-S", "-K", folder, "-d", folder, "-P", "-o", apex, "-f", signed,
                    "-O", "full", *options, path], check=True, capture_output=True, text=True)
    return signed


def expand(text):
    """$GENERATE lines written out, since not every peer reads them."""
    def lines(m):
        first, last, record = int(m.group(1)), int(m.group(2)), m.group(3)
        return "\n".join(record.replace("$", str(i)) for i in range(first, last + 1))
    return re.sub(r"^\$GENERATE (\d+)-(\d+) (.*)$", lines, text, flags=re.M)


def make(folder, zones=None):
    """Writes the zones into folder; apex -> path. Every file names its origin itself."""
    paths = {}
    for apex, (template, options) in (zones or ZONES).items():
        with open(os.path.join(HERE, template + ".zone")) as f:
            text = f.read()
        path = os.path.join(folder, apex + ".zone")
        with open(path, "w") as f:
            f.write(f"$ORIGIN {apex}.\n{expand(text)}")
        paths[apex] = path if options is None else sign(folder, apex, path, options)
    return paths


def names_of(path, apex):
    """All owner names in a file, and the types each has."""
    zone = dns.zone.from_file(path, origin=apex, relativize=False, check_origin=False)
    found = {}
    for name, node in zone.nodes.items():
        found[name] = {rds.rdtype for rds in node.rdatasets}
    return found


def mixed_case(name, rng):
    """The name's text with the case of its letters drawn at random; escapes kept."""
    text = name.to_text()
    return re.sub(r"\\.|[A-Za-z]", lambda m: m.group(0) if m.group(0)[0] == "\\" else
                  rng.choice([m.group(0).lower(), m.group(0).upper()]), text)
