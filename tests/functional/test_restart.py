"""Signatures outlive the server: what a restart finds is not signed again, and no keystore is needed for it."""

import datetime
import os
import random
import signal

import dns.flags
import dns.message
import dns.query
import dns.rdatatype
import pytest

from daemon import PIN, Signet, Token, policy
from procs import program, wait_for
from test_cold import write_zone

import subprocess

ZONE = "kept.test"


def configure(token, path, **kw):
    return {"keystores": [token.keystore()], "policies": [policy(**kw)],
            "zones": [{"name": ZONE, "file": path, "policy": "default"}]}


def made(server):
    """Signatures by all keystores since the start."""
    return sum(k["signatures"] for k in server.ctl_json("status")["keystores"])


def shown(server):
    return next(z for z in server.ctl_json("status")["zones"] if z["zone"] == ZONE + ".")


def serial(server):
    return shown(server)["serial"]


def verify(folder, text):
    path = os.path.join(str(folder), "dump")
    with open(path, "w") as f:
        f.write(text)
    done = subprocess.run([program("dnssec-verify"), "-z", "-o", ZONE, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def rrsigs(text):
    return sorted(line for line in text.splitlines() if "RRSIG" in line.split()[:5])


def first_end(text):
    """The earliest expiration in a dump, as status writes times."""
    ends = [line.split()[line.split().index("RRSIG") + 5] for line in rrsigs(text)]
    return datetime.datetime.strptime(min(ends), "%Y%m%d%H%M%S").strftime("%Y-%m-%d %H:%M:%SZ")


def assert_safe_until(server, text):
    """What status calls safe: in the zone's line, in the first one, and in JSON."""
    end = first_end(text)
    data = server.ctl_json("status")
    assert data["safe_until"] == end and shown(server)["safe_until"] == end
    lines = server.ctl("status").stdout.splitlines()
    assert f"safe until {end}" in lines[0]
    assert any(line.startswith(ZONE) and end in line for line in lines), lines


def ask(server, name, rdtype="A"):
    q = dns.message.make_query(name, rdtype, use_edns=0, want_dnssec=True)
    return dns.query.udp_with_fallback(q, server.address, port=server.port, timeout=20)[0]


def assert_signed(reply, rcode):
    assert reply.rcode() == rcode, reply
    for section in (reply.answer, reply.authority):
        signed = {(rr.name, rr.covers) for rr in section if rr.rdtype == dns.rdatatype.RRSIG}
        plain = {(rr.name, rr.rdtype) for rr in section if rr.rdtype != dns.rdatatype.RRSIG}
        assert plain == signed, reply
    assert reply.answer or reply.authority


def again(server, kill):
    if kill:
        server.stop(signal.SIGKILL)
    else:
        assert server.stop() == 0, server.text()
    server.run()


@pytest.mark.parametrize("signing", ["online", "eager"])
def test_keystore_dead_over_a_restart(tmp_path, run, signing):
    token = Token(tmp_path)
    path = str(tmp_path / "zone")
    write_zone(path, 7, 300)
    server = run(Signet, tmp_path, configure(token, path, signing=signing), env=token.env)
    text = server.wait_complete(ZONE)
    verify(tmp_path, text)
    assert_safe_until(server, text)
    before = serial(server)
    assert server.stop() == 0, server.text()

    # The token is gone, with all keys.
    os.rename(os.path.join(token.folder, "tokens"), os.path.join(token.folder, "elsewhere"))
    os.mkdir(os.path.join(token.folder, "tokens"))
    server.run()
    assert serial(server) == before
    for i in range(0, 300, 7):
        assert_signed(ask(server, f"h{i:06}.{ZONE}"), 0)
        assert_signed(ask(server, f"h{i:06}x.{ZONE}"), 3)
    for rdtype in ("SOA", "NS", "DNSKEY", "MX"):
        assert_signed(ask(server, ZONE, rdtype), 0)
    dead = server.wait_complete(ZONE)
    verify(tmp_path, dead)
    assert rrsigs(dead) == rrsigs(text)
    assert_safe_until(server, dead)
    assert made(server) == 0

    # And back again, without a restart: what is edited is signed.
    os.rmdir(os.path.join(token.folder, "tokens"))
    os.rename(os.path.join(token.folder, "elsewhere"), os.path.join(token.folder, "tokens"))
    write_zone(path, 7, 310)
    wait_for(lambda: server.ctl("zone", "reload", ZONE, check=False).returncode == 0, timeout=60,
             what="a reload with the token back")
    text = server.wait_complete(ZONE)
    verify(tmp_path, text)
    assert serial(server) > before


@pytest.mark.parametrize("kill", [False, True])
def test_a_restart_signs_nothing(tmp_path, run, kill):
    token = Token(tmp_path)
    path = str(tmp_path / "zone")
    write_zone(path, 1, 500)
    server = run(Signet, tmp_path, configure(token, path), env=token.env)
    text = server.wait_complete(ZONE)
    before = serial(server)
    if kill:
        # Written behind: until it does not grow any more a kill would lose some.
        wait_for(lambda: shown(server)["saved"], timeout=60, what="all on disk")
    for _ in range(2):
        again(server, kill)
        after = server.wait_complete(ZONE)
        assert serial(server) == before
        assert rrsigs(after) == rrsigs(text)
        # Each key signs once to show that it does.
        assert made(server) <= 2
        if kill:
            wait_for(lambda: shown(server)["saved"], timeout=60,
                     what="all on disk")

    # An edit while it is down: only what has changed is signed, under a higher serial.
    assert server.stop() == 0
    write_zone(path, 1, 501)
    server.run()
    after = server.wait_complete(ZONE)
    verify(tmp_path, after)
    assert serial(server) > before
    # The name, its NSEC, the NSEC before it, the SOA; and the keys' proof.
    assert made(server) <= 6
    assert len(set(rrsigs(text)) - set(rrsigs(after))) <= 2


def test_kill_while_a_zone_is_signed(tmp_path, run, seed):
    rng = random.Random(seed)
    token = Token(tmp_path)
    path = str(tmp_path / "zone")
    names = 8000
    write_zone(path, 1, names)
    server = run(Signet, tmp_path, configure(token, path), env=token.env)
    sets = 2 * (names + 1) + 3  # A and NSEC each; SOA, NS, DNSKEY
    total, last, kept = 0, serial(server), 0
    for _ in range(6):
        # Some more of it, until it is on disk or, for once, at any moment.
        least = made(server) + rng.randrange(200, 1500)
        wait_for(lambda: made(server) >= least or shown(server)["signing"] == "signed",
                 timeout=120, what="signatures")
        total += made(server)
        again(server, True)
        assert serial(server) >= last
        last = serial(server)
        kept = shown(server)["signatures"]
    text = server.wait_complete(ZONE)
    verify(tmp_path, text)
    # Not from the beginning each time.
    assert total + made(server) < 3 * sets, (total, made(server), kept)
    assert server.stop() == 0
    server.run()
    assert rrsigs(server.wait_complete(ZONE)) == rrsigs(text)
    assert made(server) <= 2


def test_a_damaged_store_is_set_aside(tmp_path, run):
    token = Token(tmp_path)
    path = str(tmp_path / "zone")
    write_zone(path, 1, 50)
    server = run(Signet, tmp_path, configure(token, path), env=token.env)
    server.wait_complete(ZONE)
    assert server.stop() == 0
    saved = os.path.join(server.folder, "state", "signatures.lmdb")
    with open(saved, "r+b") as f:
        f.write(b"no store at all " * 600)
    server.run()
    verify(tmp_path, server.wait_complete(ZONE))
    assert os.path.exists(saved + ".damaged")
    assert "damaged" in server.text()


def test_a_store_that_is_damaged_inside_heals_too(tmp_path, run):
    """It opens, and what is behind its end cannot be read or written: at the second start all is well again."""
    token = Token(tmp_path)
    path = str(tmp_path / "zone")
    write_zone(path, 1, 500)
    server = run(Signet, tmp_path, configure(token, path), env=token.env)
    server.wait_complete(ZONE)
    assert server.stop() == 0
    saved = os.path.join(server.folder, "state", "signatures.lmdb")
    os.truncate(saved, 3 * 4096)
    server.run()
    verify(tmp_path, server.wait_complete(ZONE))
    wait_for(lambda: os.path.exists(saved + ".damaged"), 30, "the store set aside")
    server.restart()
    verify(tmp_path, server.wait_complete(ZONE))
    server.restart()
    server.wait_complete(ZONE)
    assert made(server) <= 2
