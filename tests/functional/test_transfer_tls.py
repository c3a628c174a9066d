"""Zones transferred over TLS (RFC 9103): what is said, to whom, and what is not TLS."""

import os
import random
import re
import signal
import socket
import ssl
import struct
import time

import dns.edns
import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from certificate import Certificate
from daemon import Signet
from procs import free_port, wait_for
from secondaries import Bind, Nsd
from test_cold import write_zone
from test_transfer import ZONE, Keys, frames

NAMES = 300


@pytest.fixture
def keys(tmp_path, seed):
    return Keys(tmp_path, random.Random(seed))


@pytest.fixture
def certificate(tmp_path):
    return Certificate(tmp_path)


def start(run, folder, keys, certificate, remotes=None, names=NAMES, **server):
    keys.add("xfr.test.")
    path = os.path.join(str(folder), "zone")
    write_zone(path, 7, names)
    remotes = remotes or [{"name": "ns2", "address": "127.0.0.1@5399", "tsig-key": "xfr.test.", "tls": True}]
    port = free_port()
    s = run(Signet, folder, {
        "tsig-keys": keys.conf, "remotes": remotes,
        "zones": [{"name": ZONE, "file": path, "secondaries": [r["name"] for r in remotes]}],
    }, server={"tls-listen": [f"127.0.0.1@{port}"], "tls-certificate": certificate.certificate,
               "tls-key": certificate.key, **server})
    s.tls_port = port
    return s


def context(certificate, alpn=("dot",), newest=None):
    c = ssl.create_default_context(cafile=certificate.certificate)
    c.maximum_version = newest or ssl.TLSVersion.MAXIMUM_SUPPORTED
    c.minimum_version = ssl.TLSVersion.TLSv1_2
    if alpn:
        c.set_alpn_protocols(list(alpn))
    return c


def connect(server, certificate, **kw):
    raw = socket.create_connection(("127.0.0.1", server.tls_port), timeout=10)
    return context(certificate, **kw).wrap_socket(raw, server_hostname=certificate.name)


def send(sock, *questions):
    wires = [q.to_wire() for q in questions]
    sock.sendall(b"".join(struct.pack("!H", len(w)) + w for w in wires))


def read(stream):
    return stream.read(struct.unpack("!H", stream.read(2))[0])


def ask(sock, question):
    send(sock, question)
    wire = read(sock.makefile("rb"))
    return dns.message.from_wire(wire, keyring=question.keyring, request_mac=question.mac)


def axfr(key=None):
    q = dns.message.make_query(ZONE, "AXFR")
    if key is not None:
        q.use_tsig(key)
    return q


def records(wires, question):
    """Lines of all records; the first and the last are the SOA."""
    lines = []
    context = None
    soas = 0
    for wire in wires:
        m = dns.message.from_wire(wire, keyring=question.keyring, request_mac=question.mac, multi=True,
                                  tsig_ctx=context, xfr=True, one_rr_per_rrset=True)
        context = m.tsig_ctx
        assert m.rcode() == dns.rcode.NOERROR, m
        for rr in m.answer:
            lines += [f"{rr.name} {rr.ttl} {dns.rdatatype.to_text(rr.rdtype)} {r.to_text()}" for r in rr]
            soas += rr.rdtype == dns.rdatatype.SOA
        if soas == 2:
            return lines
    raise AssertionError(f"{len(lines)} records, and no end")


def over_tls(server, certificate, key):
    q = axfr(key)
    with connect(server, certificate) as s:
        send(s, q)
        return records(frames(s), q)


def dumped(server):
    """The zone's records as the server prints them, sorted."""
    lines = []
    for line in server.ctl("zone", "dump", ZONE).stdout.splitlines():
        if line and not line.startswith(("$", ";")):
            lines.append(line)
    return lines


def test_the_whole_zone(run, tmp_path, keys, certificate):
    server = start(run, tmp_path, keys, certificate)
    key = keys.secrets["xfr.test."]
    with connect(server, certificate) as s:
        assert s.version() == "TLSv1.3" and s.selected_alpn_protocol() == "dot"
    lines = over_tls(server, certificate, key)
    assert lines[0] == lines[-1] and len(lines) == len(dumped(server)) + 1 > NAMES
    # Others that wait for one, and one after the other on one connection.
    with connect(server, certificate) as s:
        for _ in range(3):
            q = axfr(key)
            send(s, q)
            assert records(frames(s), q) == lines
    assert server.ctl_json("status")["workers"]["transfers"] == 4


def test_large_and_read_slowly(run, tmp_path, keys, certificate):
    server = start(run, tmp_path, keys, certificate, names=30000)
    key = keys.secrets["xfr.test."]
    want = sorted(over_tls(server, certificate, key))
    q = axfr(key)
    socks = [connect(server, certificate) for _ in range(12)]
    try:
        for s in socks:
            send(s, q)
        # One message of each in turn: none is read while the others are.
        streams = [frames(s) for s in socks]
        first = [next(f) for f in streams]
        for head, f in zip(first, streams):
            assert sorted(records([head, *until_end(f)], q)) == want
    finally:
        for s in socks:
            s.close()


def until_end(stream):
    """The messages up to the one with the closing SOA, which comes last of all answers."""
    for wire in stream:
        yield wire
        m = dns.message.from_wire(wire, xfr=True, one_rr_per_rrset=True, ignore_trailing=True, continue_on_error=True,
                                  keyring=False)
        if m.answer[-1].rdtype == dns.rdatatype.SOA:
            return


def test_nothing_but_transfers(run, tmp_path, keys, certificate):
    server = start(run, tmp_path, keys, certificate)
    with connect(server, certificate) as s:
        reply = ask(s, dns.message.make_query(ZONE, "SOA"))
        assert reply.rcode() == dns.rcode.NOERROR and reply.flags & dns.flags.AA and reply.answer
        for name, kind in ((ZONE, "NS"), ("host1." + ZONE, "A"), ("other.test", "A")):
            reply = ask(s, dns.message.make_query(name, kind, use_edns=0))
            assert reply.rcode() == dns.rcode.REFUSED and not reply.answer
            assert [o.code for o in reply.options if o.otype == dns.edns.OptionType.EDE] == [21]


def test_who_has_to_come_over_tls(run, tmp_path, keys, certificate):
    server = start(run, tmp_path, keys, certificate)
    key = keys.secrets["xfr.test."]
    for q in (axfr(key), axfr()):
        with socket.create_connection(("127.0.0.1", server.port), timeout=10) as s:
            reply = ask(s, q)
        assert reply.rcode() == dns.rcode.REFUSED
    assert re.search(r"no transfer to 127\.0\.0\.1@\d+: it has to come over TLS", server.text())
    with connect(server, certificate) as s:
        assert ask(s, axfr()).rcode() == dns.rcode.REFUSED
    assert over_tls(server, certificate, key)


@pytest.mark.parametrize("client", [{"alpn": None}, {"alpn": ("h2",)}, {"newest": ssl.TLSVersion.TLSv1_2}])
def test_other_clients_are_turned_away(run, tmp_path, keys, certificate, client):
    server = start(run, tmp_path, keys, certificate)
    key = keys.secrets["xfr.test."]
    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        with connect(server, certificate, **client) as s:
            send(s, axfr(key))
            if not s.recv(1):
                raise EOFError
    assert over_tls(server, certificate, key)
    assert server.ctl_json("status")["workers"]["transfers"] == 1


def test_what_is_not_tls(run, tmp_path, keys, certificate):
    server = start(run, tmp_path, keys, certificate, **{"tcp-idle-timeout": "1s"})
    rng = random.Random(5)
    hello = client_hello(certificate)
    wire = axfr().to_wire()
    cases = [struct.pack("!H", len(wire)) + wire, rng.randbytes(3000), b"\x16\x03\x01" + rng.randbytes(600),
             hello[:1], hello[:40], hello[:-1], hello[:60] + rng.randbytes(len(hello) - 60), hello + rng.randbytes(2000)]
    for data in cases:
        with socket.create_connection(("127.0.0.1", server.tls_port), timeout=10) as s:
            s.sendall(data)
            # An alert or nothing, and the end: half a greeting is not waited for longer than others that are idle.
            got = b""
            try:
                while chunk := s.recv(4096):
                    got += chunk
            except ConnectionResetError:
                pass
            assert got == b"" or got[0] in (0x15, 0x16), got[:20]
    # Cut off at any octet of the handshake.
    for cut in range(1, len(hello), 7):
        with socket.create_connection(("127.0.0.1", server.tls_port), timeout=10) as s:
            s.sendall(hello[:cut])
    assert over_tls(server, certificate, keys.secrets["xfr.test."])


def test_the_end_is_told(run, tmp_path, keys, certificate):
    server = start(run, tmp_path, keys, certificate, **{"tcp-idle-timeout": "1s"})
    raw = socket.create_connection(("127.0.0.1", server.tls_port), timeout=10)
    with context(certificate).wrap_socket(raw, server_hostname=certificate.name, suppress_ragged_eofs=False) as s:
        assert ask(s, dns.message.make_query(ZONE, "SOA")).answer
        # Idle for too long: closed, not cut.
        assert s.recv(1) == b""


def test_handshakes_are_bounded(run, tmp_path, keys, certificate):
    count = 300
    server = start(run, tmp_path, keys, certificate, **{"workers": 1, "tcp-clients-per-address": 2 * count,
                                                        "tcp-clients": 2 * count})
    began = time.monotonic()
    socks = []
    try:
        for _ in range(count):
            socks.append(socket.create_connection(("127.0.0.1", server.tls_port), timeout=10))

        def counted():
            workers = server.ctl_json("status")["workers"]
            return workers["tcp_accepted"], workers["tcp_refused"]
        wait_for(lambda: sum(counted()) == count, 20, "all connections taken or refused")
        seconds = int(time.monotonic() - began) + 1
        assert counted()[0] <= 50 * seconds and counted()[1] >= count - 50 * seconds
    finally:
        for s in socks:
            s.close()
    wait_for(lambda: over_tls_or_none(server, certificate, keys.secrets["xfr.test."]), 10, "a transfer afterwards")


def over_tls_or_none(server, certificate, key):
    try:
        return over_tls(server, certificate, key)
    except OSError:
        return None


def client_hello(certificate):
    c = context(certificate)
    out = ssl.MemoryBIO()
    tls = c.wrap_bio(ssl.MemoryBIO(), out, server_hostname=certificate.name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


def shown(server):
    """The certificate that the server shows, in PEM."""
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    c.check_hostname = False
    c.verify_mode = ssl.CERT_NONE
    c.set_alpn_protocols(["dot"])
    with socket.create_connection(("127.0.0.1", server.tls_port), timeout=10) as raw, c.wrap_socket(raw) as s:
        return ssl.DER_cert_to_PEM_cert(s.getpeercert(binary_form=True))


def test_a_renewed_certificate(run, tmp_path, keys, certificate):
    server = start(run, tmp_path, keys, certificate)
    first = certificate.text()
    assert shown(server) == first
    # One that is open keeps what it had.
    with connect(server, certificate) as s:
        certificate.renew()
        server.child.send_signal(signal.SIGHUP)
        wait_for(lambda: shown(server) == certificate.text(), 20, "the new certificate")
        assert certificate.text() != first
        assert ask(s, dns.message.make_query(ZONE, "SOA")).answer
    good = certificate.text()
    with open(certificate.certificate, "w") as f:
        f.write("no certificate\n")
    server.child.send_signal(signal.SIGHUP)
    wait_for(lambda: "stays in use" in server.text(), 20, "the fault in the log")
    assert certificate.certificate in server.text() and shown(server) == good


def test_an_end_that_is_near(run, tmp_path, keys):
    certificate = Certificate(tmp_path, days=3)
    server = start(run, tmp_path, keys, certificate)
    assert re.search(r"warning: TLS: the certificate ends at 20\d\d-", server.text())


def check(folder, keys, server):
    import subprocess

    import yaml
    from daemon import SIGNETD
    path = os.path.join(str(folder), "check.yaml")
    with open(path, "w") as f:
        yaml.safe_dump({"server": {"listen": ["127.0.0.1@5399"], "state": str(folder), **server}, "zones": []}, f)
    done = subprocess.run([SIGNETD, "-c", path, "--check"], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr


def test_faults_in_the_files(tmp_path, keys, certificate):
    good = {"tls-listen": ["127.0.0.1"], "tls-certificate": certificate.certificate, "tls-key": certificate.key}
    assert check(tmp_path, keys, good)[0] == 0
    other = os.path.join(str(tmp_path), "other")
    os.mkdir(other)
    for change, said in (({"tls-key": Certificate(other).key}, "other/key.pem: error: not the key of the certificate"),
                         ({"tls-certificate": certificate.key}, "key.pem: error: no certificate in PEM"),
                         ({"tls-certificate": "/nowhere"}, "'tls-certificate': /nowhere: No such file")):
        status, text = check(tmp_path, keys, {**good, **change})
        assert status == 1 and said in text, text
    status, text = check(tmp_path, keys, {**good, "tls-listen": ["127.0.0.1@5399"]})
    assert status == 1 and "'tls-listen': 127.0.0.1@5399 is one of 'listen' as well" in text, text
    for missing in good:
        status, text = check(tmp_path, keys, {k: v for k, v in good.items() if k != missing})
        assert status == 1 and re.search(rf"check\.yaml:\d+:\d+: error: '{missing}' is missing", text), text


@pytest.mark.parametrize("kind", [Nsd, Bind])
def test_secondaries_follow_over_tls(run, tmp_path, keys, certificate, kind):
    port = free_port()
    server = start(run, tmp_path, keys, certificate,
                   remotes=[{"name": "ns2", "address": f"127.0.0.1@{port}", "tsig-key": "xfr.test.", "tls": True}])
    second = run(kind, tmp_path / "second", [ZONE], server.tls_port, keys.secrets["xfr.test."], port=port,
                 tls=certificate)
    path = os.path.join(str(tmp_path), "zone")
    serial = server.ctl_json("zone", "show", ZONE)["serial"]
    for n in range(3):
        wait_for(lambda: second.has(ZONE, serial), 60, f"serial {serial} at the secondary")
        assert second.records(ZONE) == sorted(set(over_tls(server, certificate, keys.secrets["xfr.test."])))
        write_zone(path, serial + 1, NAMES + 10 * (n + 1))
        server.ctl("zone", "reload", ZONE)
        serial = server.ctl_json("zone", "show", ZONE)["serial"]
    assert "it has to come over TLS" not in server.text()
