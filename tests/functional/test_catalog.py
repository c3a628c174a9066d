"""Catalog zones: what stands in one, who gets it, and Knot and BIND that serve zones they were told of by it only.

NSD is not among them: the one of Debian 12 (4.6) reads no catalogs.
"""

import base64
import hashlib
import os
import random
import signal
import subprocess
import time

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.zone
import pytest

import secondaries
from daemon import SIGNETD, Signet
from procs import free_port, wait_for
from test_transfer import Keys, dumped

CATALOG = "cat.example"
MEMBERS = ("a.test", "b.test", "sub.a.test")
KINDS = (secondaries.Knot, secondaries.Bind)
TOLD_S = 60


def label(zone):
    """By dnspython's wire form and hashlib: 160 bits of SHA-256, in base32hex."""
    digest = hashlib.sha256(dns.name.from_text(zone).canonicalize().to_wire()).digest()
    return base64.b32hexencode(digest[:20]).decode().lower()


def zone_file(folder, zone, serial=1):
    path = os.path.join(str(folder), zone + ".zone")
    with open(path, "w") as f:
        f.write(f"$TTL 300\n@ SOA ns h {serial} 86400 86400 864000 60\n@ NS ns\nns A 192.0.2.1\n"
                f"@ TXT \"{zone}\"\n")
    return path


class Stage:
    """signet with a catalog; 'members' are changed by a restart with another configuration."""

    def __init__(self, run, folder, seed, remotes=None, entry=True):
        self.run = run
        self.folder = str(folder)
        self.keys = Keys(folder, random.Random(seed))
        self.key = self.keys.add("xfr.test.")
        self.port = free_port()
        self.ports = {kind: free_port() for kind in KINDS}
        self.entry = entry
        self.remotes = remotes or [{"name": kind.__name__, "address": f"127.0.0.1@{port}", "tsig-key": "xfr.test"}
                                   for kind, port in self.ports.items()]
        self.primary = None

    def conf(self, members, groups=None):
        names = [r["name"] for r in self.remotes]
        zones = [{"name": zone, "file": zone_file(self.folder, zone), "secondaries": list(names),
                  **({"catalog": CATALOG} if zone in members else {})} for zone in MEMBERS]
        for zone in zones:
            if zone["name"] in (groups or {}):
                zone["catalog-group"] = groups[zone["name"]]
        if self.entry:
            zones.append({"name": CATALOG, "make": "catalog", "secondaries": list(names)})
        return {"tsig-keys": self.keys.conf, "remotes": self.remotes, "zones": zones}

    def serve(self, members, groups=None, how=signal.SIGTERM):
        if self.primary is not None:
            self.primary.stop(how)
        self.primary = self.run(Signet, self.folder, self.conf(members, groups), port=self.port)
        return self.primary

    def transferred(self):
        """The catalog as dnspython gets it by AXFR, which refuses what is no zone."""
        z = dns.zone.Zone(CATALOG + ".")
        q = dns.message.make_query(CATALOG, "AXFR")
        q.use_tsig(self.key)
        dns.query.inbound_xfr("127.0.0.1", z, query=q, port=self.primary.port, timeout=20)
        return z

    def soa(self):
        q = dns.message.make_query(CATALOG, "SOA")
        q.use_tsig(self.key)
        return dns.query.udp(q, "127.0.0.1", port=self.primary.port, timeout=20)

    def serial(self):
        return self.soa().answer[0][0].serial


def contents(z):
    """All records of a zone but the SOA's serial, as text."""
    out = set()
    for name, ttl, rdata in z.iterate_rdatas():
        if rdata.rdtype == dns.rdatatype.SOA:
            rdata = rdata.replace(serial=0)
        out.add(f"{name} {ttl} {dns.rdatatype.to_text(rdata.rdtype)} {rdata.to_text()}")
    return out


def expected(members, groups=None):
    lines = {"@ 0 SOA invalid. invalid. 0 3600 600 2147483646 0", "@ 0 NS invalid.", 'version 0 TXT "2"'}
    lines |= {f"{label(zone)}.zones 0 PTR {zone}." for zone in members}
    lines |= {f'group.{label(zone)}.zones 0 TXT "{group}"' for zone, group in (groups or {}).items()}
    return lines


def test_content_and_serial(run, tmp_path, seed):
    stage = Stage(run, tmp_path, seed)
    last = 0
    for members, groups in ((MEMBERS, None), (MEMBERS[:1], None), (MEMBERS, {"b.test": "of two"}), (MEMBERS[1:], None),
                            ((), None)):
        stage.serve(members, groups)
        z = stage.transferred()
        assert contents(z) == expected(members, groups)
        serial = stage.serial()
        assert serial > last
        assert z.get_soa().serial == serial
        # The same again, killed or not, is the same version.
        for how in (signal.SIGTERM, signal.SIGKILL):
            stage.serve(members, groups, how)
            assert stage.serial() == serial
            assert contents(stage.transferred()) == expected(members, groups)
        stage.primary.ctl("zone", "reload", CATALOG)
        assert stage.serial() == serial
        last = serial
    assert "error" not in stage.primary.text()


def test_one_serial_one_content_over_kill(run, tmp_path, seed):
    """Killed at whatever moment of a start: a serial that anybody saw stands for one content."""
    rng = random.Random(seed)
    stage = Stage(run, tmp_path, seed)
    known = {}
    for _ in range(12):
        members = tuple(zone for zone in MEMBERS if rng.random() < 0.5)
        if stage.primary is not None and rng.random() < 0.5:
            # A start that is killed while it is one, or before, or after.
            stage.primary.stop(signal.SIGKILL)
            other = run(Signet, stage.folder, stage.conf(MEMBERS[:rng.randrange(4)]), port=stage.port, wait=False)
            time.sleep(rng.random() / 2)
            other.stop(signal.SIGKILL)
        stage.serve(members, how=signal.SIGKILL)
        content = contents(stage.transferred())
        assert content == expected(members)
        serial = stage.serial()
        assert known.setdefault(serial, content) == content
        assert serial == max(known)


def test_control(run, tmp_path, seed):
    stage = Stage(run, tmp_path, seed)
    server = stage.serve(MEMBERS[:2])
    listed = {z["zone"]: z for z in server.ctl_json("zone", "list")["zones"]}
    assert listed[CATALOG + "."]["is_catalog"] and listed[CATALOG + "."]["signing"] == "none"
    assert listed["a.test."]["catalog"] == CATALOG + "." and not listed["a.test."]["is_catalog"]
    assert listed["sub.a.test."]["catalog"] is None
    row = next(line for line in server.ctl("zone", "list").stdout.splitlines() if line.startswith(CATALOG))
    assert row.split()[1:4] == [str(stage.serial()), "4", "catalog"]
    status = server.ctl_json("status")
    assert status["zone_counts"] == {"all": 4, "loaded": 4, "warming": 0, "problems": 0}
    shown = server.ctl("zone", "show", CATALOG).stdout
    assert "made of the zones that name it" in shown and "secondary" in shown
    assert server.ctl_json("zone", "show", CATALOG)["file"] is None
    assert CATALOG in server.ctl("zone", "show", "a.test").stdout
    assert {" ".join(r.split()[:1]) for r in dumped(server, CATALOG)} == \
        {f"{n}.{CATALOG}." for n in ("version", *(label(z) + ".zones" for z in MEMBERS[:2]))} | {CATALOG + "."}
    assert server.ctl("ds", CATALOG, check=False).returncode == 1
    check = subprocess.run([SIGNETD, "-c", server.conf_path, "--check"], capture_output=True, text=True, timeout=60)
    assert check.returncode == 0, check.stderr


def test_only_its_secondaries_know_of_it(run, tmp_path, seed):
    remotes = [{"name": "keyed", "address": f"127.0.0.1@{free_port()}", "tsig-key": "xfr.test"},
               {"name": "plain", "address": f"127.0.7.1@{free_port()}"}]
    stage = Stage(run, tmp_path, seed, remotes=remotes)
    server = stage.serve(MEMBERS)
    member = f"{label('a.test')}.zones.{CATALOG}"

    def ask(name, rdtype, key=None, source=None, tcp=False):
        q = dns.message.make_query(name, rdtype, want_dnssec=True)
        if key is not None:
            q.use_tsig(key)
        transport = dns.query.tcp if tcp else dns.query.udp
        return transport(q, server.address, port=server.port, source=source, timeout=20)

    for tcp in (False, True):
        for name, rdtype in ((CATALOG, "SOA"), (CATALOG, "NS"), (CATALOG, "ANY"), (member, "PTR"), (member, "TXT"),
                             ("version." + CATALOG, "TXT"), ("nothing." + CATALOG, "A"), ("zones." + CATALOG, "NSEC")):
            reply = ask(name, rdtype, tcp=tcp)
            assert reply.rcode() == dns.rcode.REFUSED and not reply.flags & dns.flags.AA
            assert not reply.answer and not reply.authority and not reply.additional
            assert [o.code for o in reply.options if o.otype == dns.edns.EDE] == [20]
            if rdtype != "SOA":
                assert ask(name, rdtype, stage.key, tcp=tcp).rcode() == dns.rcode.REFUSED
        for reply in (ask(CATALOG, "SOA", stage.key, tcp=tcp), ask(CATALOG, "SOA", source="127.0.7.1", tcp=tcp)):
            assert reply.rcode() == 0 and reply.flags & dns.flags.AA
            assert len(reply.answer) == 1 and not reply.authority
        assert ask(CATALOG, "SOA", source="127.0.7.2", tcp=tcp).rcode() == dns.rcode.REFUSED
    # Transfers as of any zone.
    assert contents(stage.transferred()) == expected(MEMBERS)
    reply = ask(CATALOG, "AXFR", tcp=True)
    assert reply.rcode() == dns.rcode.REFUSED and [o.code for o in reply.options if o.otype == dns.edns.EDE] == [18]


def test_without_an_entry(run, tmp_path, seed):
    """The secondaries of its members have it."""
    stage = Stage(run, tmp_path, seed, entry=False)
    stage.serve(MEMBERS)
    assert contents(stage.transferred()) == expected(MEMBERS)
    first = stage.serial()
    # With an entry it is the same.
    stage.entry = True
    stage.serve(MEMBERS)
    assert stage.serial() == first
    # Without members it is none.
    stage.entry = False
    stage.serve(())
    assert stage.soa().rcode() == dns.rcode.REFUSED
    stage.serve(MEMBERS)
    assert stage.serial() == first


class CatalogKnot(secondaries.Knot):
    """Knows of the catalog only."""

    def start(self):
        with open(self.argv[-1], "a") as f:
            f.write("    catalog-role: interpret\n    catalog-template: default\n")
        return super().start()


class CatalogBind(secondaries.Bind):
    def __init__(self, folder, zones, primary, key, port=None):
        self.catalogs = "".join(f'zone "{zone}" default-masters {{ 127.0.0.1 port {primary}; }} in-memory yes '
                                "min-update-interval 1;" for zone in zones)
        super().__init__(folder, zones, primary, key, port)

    def start(self):
        with open(self.argv[-1]) as f:
            text = f.read()
        with open(self.argv[-1], "w") as f:
            f.write(text.replace("options {\n", f"options {{\n  catalog-zones {{ {self.catalogs} }};\n"))
        return super().start()


@pytest.mark.parametrize("kind", [CatalogKnot, CatalogBind])
def test_secondaries_follow_the_catalog(run, tmp_path, seed, kind):
    stage = Stage(run, tmp_path, seed)
    base = secondaries.Knot if kind is CatalogKnot else secondaries.Bind
    stage.serve(MEMBERS[:2])
    other = run(kind, os.path.join(stage.folder, kind.__name__), [CATALOG], stage.port, stage.key, stage.ports[base])
    with open(other.argv[-1]) as f:
        assert not any(zone in f.read() for zone in MEMBERS)

    def served(zone):
        try:
            reply = other.ask(zone, "TXT", timeout=2)
        except dns.exception.Timeout:
            return None
        return reply.rcode() == 0 and reply.flags & dns.flags.AA and reply.answer[0][0].strings[0].decode() == zone

    def gone(zone):
        try:
            return other.ask(zone, "TXT", timeout=2).rcode() == dns.rcode.REFUSED
        except dns.exception.Timeout:
            return None

    def settle(members):
        for zone in MEMBERS:
            # A name below a member's answers from there.
            if zone not in members and zone == "sub.a.test" and "a.test" in members:
                continue
            wait_for(lambda zone=zone: served(zone) if zone in members else gone(zone), TOLD_S,
                     f"{zone} {'at' if zone in members else 'gone from'} {kind.__name__}\n{other.text()[-4000:]}\n"
                     f"{stage.primary.text()[-3000:]}")
        # Knot answers no questions for it either, and has it transferred on.
        wait_for(lambda: other.records(CATALOG) == sorted(dumped(stage.primary, CATALOG)), TOLD_S,
                 f"the catalog at {kind.__name__}")

    settle(MEMBERS[:2])
    for members in (MEMBERS, MEMBERS[:1], MEMBERS[1:2], (), MEMBERS):
        stage.serve(members)
        settle(members)
    # Knot refuses questions for the catalog: that is no trouble of a secondary.
    assert all(s["served"] is None for s in stage.primary.ctl_json("zone", "show", CATALOG)["secondaries"])
    # A restart that changes nothing makes nobody transfer anything.
    serial = stage.serial()
    stage.serve(MEMBERS)
    assert stage.serial() == serial
    wait_for(lambda: all(not s["pending"] for s in stage.primary.ctl_json("zone", "show", CATALOG)["secondaries"]
                         if s["name"] == base.__name__), TOLD_S, "NOTIFY acknowledged")
    settle(MEMBERS)


def test_check_says_what_is_wrong(run, tmp_path, seed):
    stage = Stage(run, tmp_path, seed)
    conf = stage.conf(MEMBERS)
    conf["zones"][0]["catalog"] = "elsewhere.example"
    server = run(Signet, tmp_path, conf, wait=False)
    assert server.child.wait(30) == 1
    with open(server.conf_path) as f:
        line = next(i for i, text in enumerate(f, 1) if "elsewhere" in text)
    assert f"signet.yaml:{line}:12: error: there is no catalog 'elsewhere.example.'" in server.text()
