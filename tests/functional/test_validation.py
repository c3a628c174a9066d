"""Validators are the judges of what is signed: unbound asks every name and type, and thousands that do not exist."""

import os
import random
import re
import select
import socket
import subprocess
import time

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import pytest

import zonedata
from daemon import Signet, policy
from peers import Unbound
from procs import program

TYPES = ["A", "AAAA", "NS", "CNAME", "SOA", "MX", "TXT", "DS", "DNSKEY", "SRV", "CAA", "HTTPS", "DNAME", "NAPTR",
         "TYPE65280", "CDS"]


DENIALS = [{"denial": "nsec"}, {"denial": "nsec3"}, {"denial": "nsec3", "nsec3-opt-out": True}]
every_denial = pytest.mark.parametrize("signed", DENIALS, indirect=True, ids=["nsec", "nsec3", "opt-out"])


@pytest.fixture
def signed(tmp_path, token, run, request):
    """Two zones signed online through the token, parent and child, and the zone that they lead to."""
    zones = zonedata.make(str(tmp_path), {"nasty.test": ("nasty", None), "sub.nasty.test": ("sub", None),
                                          "other.test": ("other", None)})
    conf = {"keystores": [token.keystore()],
            "policies": [policy(), policy("one", csk={"keystore": "token"}, signing="eager")],
            "zones": [{"name": "nasty.test", "file": zones["nasty.test"], "policy": "default"},
                      {"name": "sub.nasty.test", "file": zones["sub.nasty.test"], "policy": "one"},
                      {"name": "other.test", "file": zones["other.test"], "policy": "one"}]}
    for p in conf["policies"]:
        p.update(getattr(request, "param", {}))
        if "csk" in p:
            del p["ksk"], p["zsk"]
    return run(Signet, tmp_path, conf, env=token.env), zones


def ask_validator(server, questions):
    """Replies in order; at most 50 in flight, each asked again where it was lost."""
    got = [None] * len(questions)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((server.address, server.port))
        s.setblocking(False)
        todo = list(range(len(questions)))[::-1]
        flight = {}
        while todo or flight:
            while todo and len(flight) < 50:
                i = todo.pop()
                name, rdtype = questions[i]
                q = dns.message.make_query(name, rdtype, use_edns=0, payload=4096, want_dnssec=True)
                q.id = i & 0xffff
                s.send(q.to_wire())
                flight[i & 0xffff] = [i, q.to_wire(), time.monotonic(), 1]
            if select.select([s], [], [], 0.5)[0]:
                wire = s.recv(65535)
                flying = flight.pop(int.from_bytes(wire[:2], "big"), None)
                if flying is not None:
                    got[flying[0]] = dns.message.from_wire(wire, raise_on_truncation=False)
            for flying in flight.values():
                if time.monotonic() - flying[2] > 5:
                    assert flying[3] < 10, f"unbound does not answer {questions[flying[0]]}"
                    s.send(flying[1])
                    flying[2:] = [time.monotonic(), flying[3] + 1]
    return got


def anchors(server, zones):
    return [f"{zone}. DS {ds}" for zone in zones for ds in server.ds(zone)]


CUTS = [dns.name.from_text(c) for c in (
    "cut.nasty.test", "nogluecut.nasty.test", "siblingcut.nasty.test", "deepcut.x.y.z.nasty.test",
    "cutbelowwild.wild.nasty.test", "bigcut.nasty.test", "securecut.nasty.test", "cut.sub.nasty.test")]


def at_or_below_cut(name):
    """Where nothing but the DS is this server's to sign: no name server is at the other end."""
    return any(name.is_subdomain(cut) for cut in CUTS)


# Their chains leave the zones, or go into a cut, or never end: no validator gives an answer for these.
UNRESOLVABLE = {"toforeign", "tocut", "loop1", "loop2", "selfloop", "dnloop", "dnloop2"}


def must_be_secure(reply, opt_out):
    """All is, but with opt-out what needs a proof that a name does not exist (RFC 5155 9.2)."""
    if not opt_out:
        return True
    sigs = [(rrset.name, rd) for rrset in reply.answer if rrset.rdtype == dns.rdatatype.RRSIG for rd in rrset]
    return all(rd.labels == len(name.labels) - 1 for name, rd in sigs) and \
        any(rrset.rdtype == reply.question[0].rdtype for rrset in reply.answer)


@every_denial
def test_unbound_every_name(signed, tmp_path, run, seed, request):
    server, paths = signed
    opt_out = request.node.callspec.id == "opt-out"
    rng = random.Random(seed)
    for zone in paths:
        server.wait_complete(zone)
    trust = anchors(server, paths)
    extra = "  domain-insecure: \"example.org\"\n  jostle-timeout: 5000\n  num-queries-per-thread: 512\n"
    validator = run(Unbound, str(tmp_path), {z: server.port for z in paths}, trust, extra)
    validator.wait_ready(["nasty.test"])
    questions = []
    apexes = {z: dns.name.from_text(z) for z in paths}
    for zone, path in paths.items():
        for relative in zonedata.names_of(path, zone):
            name = relative if relative.is_absolute() else relative.concatenate(apexes[zone])
            first = name.labels[0].decode(errors="replace")
            if first in UNRESOLVABLE or b"dnloop" in name.labels or at_or_below_cut(name):
                if name in CUTS:
                    questions.append((name, "DS"))
                continue
            questions += [(name, t) for t in TYPES]
            for _ in range(20):
                label = rng.choice([b"nx", b"0", b"zz", b"\x00", bytes(rng.randrange(97, 123) for _ in range(6))])
                try:
                    child = dns.name.Name((label,) + name.labels)
                except dns.name.NameTooLong:
                    continue
                if not any(x in (b"dnloop", b"dnloop2") for x in name.labels):
                    questions.append((child, rng.choice(["A", "TXT", "MX"])))
    # Two questions that unbound 1.17 calls bogus from BIND as well, for zones signed by dnssec-signzone: a name that starts
    # with a literal "*" and is made by a wildcard, and a DNAME asked for through a CNAME that leads below a DNAME.
    questions.remove((dns.name.from_text("todname.nasty.test"), "DNAME"))
    questions = [(n.to_text(), t) for n, t in questions if not (t == "DS" and n in apexes.values())]
    assert len(questions) > 5000
    wrong = []
    for (name, rdtype), reply in zip(questions, ask_validator(validator, questions)):
        ok = reply.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN)
        if not ok or (must_be_secure(reply, opt_out) and not reply.flags & dns.flags.AD):
            wrong.append(f"{name} {rdtype}: {dns.rcode.to_text(reply.rcode())}"
                         f"{'' if reply.flags & dns.flags.AD else ' not secure'}")
    log = validator.text()
    bogus = [line for line in log.splitlines() if "validation failure" in line]
    assert not wrong and not bogus, "\n".join(wrong[:40] + bogus[:20]) + f"\n{len(wrong)} wrong of {len(questions)}"


@pytest.mark.parametrize("kind", DENIALS, ids=["nsec", "nsec3", "opt-out"])
def test_cold_answers_are_signed(tmp_path, token, run, kind):
    """The first answers come before the zone is warm: each waits for its signature, none goes without."""
    paths = zonedata.make(str(tmp_path), {"nasty.test": ("nasty", None)})
    conf = {"keystores": [token.keystore(sessions=1)], "policies": [policy(**kind)],
            "zones": [{"name": "nasty.test", "file": paths["nasty.test"], "policy": "default"}]}
    server = run(Signet, tmp_path, conf, env=token.env)
    for name in ("web", "nothing.ent", "a.b.c.d.ent", "some.wild", "securecut"):
        reply = server.ask(f"{name}.nasty.test", "A", do=True)
        assert reply.rcode() in (0, 3)
        signed = [r for r in reply.answer + reply.authority if r.rdtype == dns.rdatatype.RRSIG]
        assert signed, f"{name}: unsigned:\n{reply}"
        for rrset in signed:
            for rd in rrset:
                assert len(rd.signature) == 64 and rd.algorithm == 13


# With opt-out what does not exist, a wildcard's answer too, is not secure (RFC 5155 9.2), and delv calls it unsigned.
@pytest.mark.parametrize("signed", DENIALS[:2], indirect=True, ids=["nsec", "nsec3"])
def test_delv(signed, tmp_path):
    server, paths = signed
    ds = server.ds("nasty.test")[0].split(" ", 3)
    anchor = tmp_path / "anchor"
    anchor.write_text(f'trust-anchors {{ nasty.test. static-ds {ds[0]} {ds[1]} {ds[2]} "{ds[3]}"; }};\n')

    def delv(name, rdtype):
        out = subprocess.run([program("delv"), "@127.0.0.1", "-p", str(server.port), "-a", str(anchor),
                              "+root=nasty.test", f"{name}.nasty.test", rdtype], capture_output=True, text=True,
                             timeout=60)
        return out.stdout + out.stderr

    for name, rdtype in (("web", "A"), ("alias3", "AAAA"), ("some.wild", "A"), ("multi", "TXT"), ("www.dn", "A"),
                         ("bigtxt", "TXT")):
        assert "; fully validated" in delv(name, rdtype), f"{name} {rdtype}"
    for name, rdtype in (("nothing.ent", "A"), ("c.d.ent", "TXT"), ("web", "MX"), ("cut", "DS"), ("x.wnodata", "A")):
        assert "; negative response, fully validated" in delv(name, rdtype), f"{name} {rdtype}"


@every_denial
@pytest.mark.parametrize("zone", ["nasty.test", "sub.nasty.test", "other.test"])
def test_dump_passes_the_verifiers(signed, tmp_path, zone):
    server, _ = signed
    path = tmp_path / "dump"
    path.write_text(server.wait_complete(zone))
    # -z: a CSK signs everything, whatever its flags.
    csk = [] if zone == "nasty.test" else ["-z"]
    done = subprocess.run([program("dnssec-verify"), *csk, "-o", zone, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([program("ldns-verify-zone"), str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_restart_keeps_the_keys(signed):
    server, paths = signed
    before = {z: server.ds(z) for z in paths}
    serials = {z: server.ask(z, "SOA").answer[0][0].serial for z in paths}
    server.restart()
    assert {z: server.ds(z) for z in paths} == before
    for zone in paths:
        assert server.ask(zone, "SOA").answer[0][0].serial > serials[zone] - 1
    server.stop()
    assert {z: server.ds(z) for z in paths} == before, "signetctl ds answers from the state directory"


def test_do_bit_decides(signed):
    server, _ = signed
    plain = server.ask("web.nasty.test", "A", do=False)
    assert not re.search("RRSIG|NSEC", plain.to_text())
    assert "RRSIG" in server.ask("web.nasty.test", "A", do=True).to_text()
    assert not re.search("RRSIG|NSEC", server.ask("nothing.ent.nasty.test", "A", do=False).to_text())


def test_pin_is_nowhere(signed, tmp_path):
    """Not in the log, the arguments, the environment, nor in the state directory."""
    from daemon import PIN
    server, _ = signed
    with open(f"/proc/{server.child.pid}/cmdline", "rb") as f:
        assert PIN.encode() not in f.read()
    assert PIN not in server.text()
    for folder, _, files in os.walk(tmp_path / "state"):
        for name in files:
            with open(os.path.join(folder, name), "rb") as f:
                assert PIN.encode() not in f.read(), name
