"""Zones transferred out: who may, in which form, signed by whom; all that is served, and nothing else."""

import base64
import itertools
import os
import random
import socket
import struct
import threading

import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.wire
import pytest

from daemon import Signet, policy
from procs import wait_for
from test_cold import write_zone

ZONE = "move.test"
ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512", "hmac-sha1")


class Keys:
    """TSIG keys in files, as signetd and as dnspython know them."""

    def __init__(self, folder, rng):
        self.folder = str(folder)
        self.rng = rng
        self.secrets = {}
        self.conf = []

    def add(self, name, algorithm="hmac-sha256"):
        secret = base64.b64encode(self.rng.randbytes(32)).decode()
        path = os.path.join(self.folder, name + "secret")
        with open(path, "w") as f:
            f.write(secret + "\n")
        os.chmod(path, 0o600)
        self.secrets[name] = dns.tsig.Key(name, secret, algorithm)
        self.conf.append({"name": name, "algorithm": algorithm, "secret-file": path})
        return self.secrets[name]


@pytest.fixture
def keys(tmp_path, seed):
    return Keys(tmp_path, random.Random(seed))


def start(run, folder, keys, token=None, names=300, remotes=None, **kw):
    path = os.path.join(str(folder), "zone")
    write_zone(path, 7, names)
    # A range: nobody whose serial the zone would have to wait for.
    remotes = remotes or [{"name": "ns2", "address": "127.0.0.0/8", "tsig-key": "xfr.test."}]
    zone = {"name": ZONE, "file": path, "secondaries": [r["name"] for r in remotes]}
    conf = {"tsig-keys": keys.conf, "remotes": remotes, "zones": [zone, {"name": "closed.test", "file": path}]}
    if token is not None:
        conf["keystores"] = [token.keystore()]
        conf["policies"] = [policy()]
        zone["policy"] = "default"
    return run(Signet, folder, conf, env=token.env if token else None, **kw)


def frames(sock):
    """The messages of a connection until it ends or nothing comes."""
    stream = sock.makefile("rb")
    while True:
        head = stream.read(2)
        if len(head) < 2:
            return
        yield stream.read(struct.unpack("!H", head)[0])


def transfer(server, key=None, rdtype="AXFR", zone=ZONE, serial=None, source=None, edns=None):
    """All records of one transfer as lines of text, in order, and its messages. What is no transfer is one message."""
    q = dns.message.make_query(zone, rdtype, use_edns=edns)
    q.flags &= ~dns.flags.RD
    if serial is not None:
        soa = dns.rrset.from_text(zone + ".", 0, "IN", "SOA", f". . {serial} 0 0 0 0")
        q.authority.append(soa)
    if key is not None:
        q.use_tsig(key)
    wire = q.to_wire()
    messages, records, context = [], [], None
    with socket.create_connection((server.address, server.port), timeout=60, source_address=source) as s:
        s.sendall(struct.pack("!H", len(wire)) + wire)
        for data in frames(s):
            m = dns.message.from_wire(data, keyring=key, request_mac=q.mac, xfr=True, tsig_ctx=context,
                                      multi=key is not None, one_rr_per_rrset=True)
            context = m.tsig_ctx
            messages.append(m)
            assert key is None or m.rcode() != 0 or m.had_tsig
            for rr in m.answer:
                records += [f"{rr.name} {rr.ttl} {dns.rdatatype.to_text(rr.rdtype)} {r.to_text()}" for r in rr]
            soas = [r for r in records if r.split()[2] == "SOA"]
            if m.rcode() != 0 or len(soas) == 2 or (len(soas) == 1 and len(records) == 1 and len(data) < 400):
                break
    return records, messages


def dumped(server, zone=ZONE):
    """What 'zone dump' has, in the same form."""
    z = []
    for line in server.ctl("zone", "dump", zone).stdout.splitlines():
        name, ttl, _, rdtype, *rest = line.split(None, 4)
        rdata = dns.rdata.from_text("IN", rdtype, rest[0])
        z.append(f"{name} {ttl} {rdtype} {rdata.to_text()}")
    return z


def assert_whole(server, records):
    assert records[0] == records[-1] and records[0].split()[2] == "SOA"
    assert sorted(records[:-1]) == sorted(dumped(server))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_axfr_with_each_algorithm(tmp_path, run, keys, algorithm):
    key = keys.add("xfr.test.", algorithm)
    server = start(run, tmp_path, keys)
    records, messages = transfer(server, key)
    assert_whole(server, records)
    assert all(m.flags & dns.flags.AA for m in messages)


def test_axfr_of_a_signed_zone(tmp_path, run, keys, token):
    key = keys.add("xfr.test.")
    server = start(run, tmp_path, keys, token)
    # Published once it is complete, and not before.
    records, messages = transfer(server, key, edns=0)
    assert messages[0].edns == 0
    assert_whole(server, records)
    signed = {(r.split()[0], r.split()[3]) for r in records if r.split()[2] == "RRSIG"}
    plain = {(r.split()[0], r.split()[2]) for r in records if r.split()[2] != "RRSIG"}
    assert signed == plain
    # One serial stands for one content.
    again, _ = transfer(server, key)
    assert again == records


def test_large_zones_and_records_longer_than_the_rest(tmp_path, run, keys):
    key = keys.add("xfr.test.", "hmac-sha512")
    server = start(run, tmp_path, keys)
    path = os.path.join(str(tmp_path), "zone")
    with open(path, "a") as f:
        for i in range(20000):
            f.write(f"x{i:05} A 192.0.2.1\n MX 10 x{(i * 7) % 20000:05}\n")
        # An RRset of more octets than a message has.
        for i in range(600):
            f.write(f"many TXT \"{i:05}{'a' * 200}\"\n")
        f.write("one TXT " + " ".join(f"\"{'b' * 255}\"" for _ in range(250)) + "\n")
    server.ctl("zone", "reload", ZONE)
    records, messages = transfer(server, key)
    assert_whole(server, records)
    assert len(messages) > 10


def test_ixfr_without_a_history(tmp_path, run, keys):
    key = keys.add("xfr.test.")
    server = start(run, tmp_path, keys)
    for serial, whole in ((6, True), (7, False), (8, False), (None, True)):
        records, _ = transfer(server, key, "IXFR", serial=serial)
        if whole:
            assert_whole(server, records)
        else:
            assert len(records) == 1 and " SOA " in records[0] and " 7 " in records[0]
    # Over UDP the SOA says whether it pays to come by TCP.
    q = dns.message.make_query(ZONE, "IXFR")
    q.authority.append(dns.rrset.from_text(ZONE + ".", 0, "IN", "SOA", ". . 6 0 0 0 0"))
    q.use_tsig(key)
    reply = dns.query.udp(q, server.address, port=server.port, timeout=10)
    assert reply.rcode() == 0 and reply.had_tsig and len(reply.answer) == 1
    assert reply.answer[0].rdtype == dns.rdatatype.SOA and reply.answer[0][0].serial == 7


def refused(server, words, key=None, rcode=dns.rcode.REFUSED, **kw):
    records, messages = transfer(server, key, edns=0, **kw)
    assert not records and messages[0].rcode() == rcode
    wait_for(lambda: words in server.text(), what=words)
    return messages[0]


def test_who_may_not(tmp_path, run, keys):
    right, other = keys.add("xfr.test."), keys.add("other.test.")
    remotes = [{"name": "keyed", "address": "127.0.0.1", "tsig-key": "xfr.test"},
               {"name": "range", "address": ["127.0.7.0/24", "::1"]}]
    server = start(run, tmp_path, keys, remotes=remotes)
    reply = refused(server, "did not sign with the secondary's key")
    assert any(o.otype == dns.edns.EDE and o.code == 18 for o in reply.options)
    reply = refused(server, "its key is none of the secondaries'", key=other)
    assert reply.had_tsig
    refused(server, "its address is none of the secondaries'", source=("127.0.8.1", 0))
    refused(server, "the zone has no secondaries", key=right, zone="closed.test")
    assert transfer(server, right)[0]
    assert transfer(server, right, source=("127.0.8.1", 0))[0]
    assert transfer(server, source=("127.0.7.9", 0))[0]
    assert transfer(server, other, source=("127.0.7.9", 0))[0]
    stats = server.ctl_json("status")["workers"]
    assert stats["transfers"] == 4 and stats["transfers_refused"] == 4


def raw(server, wire):
    with socket.create_connection((server.address, server.port), timeout=20) as s:
        s.sendall(struct.pack("!H", len(wire)) + wire)
        return next(frames(s))


def tsig_of(wire):
    """The TSIG of a message as it stands there, good or not; None where there is none."""
    p = dns.wire.Parser(wire, 4)
    counts = p.get_struct("!HHHH")
    for _ in range(counts[0]):
        p.get_name()
        p.get_bytes(4)
    for _ in range(sum(counts[1:])):
        p.get_name()
        rdtype, rdclass, _, size = p.get_struct("!HHIH")
        with p.restrict_to(size):
            rdata = dns.rdata.from_wire_parser(rdclass, rdtype, p)
        if rdtype == dns.rdatatype.TSIG:
            return rdata
    return None


def test_bad_signatures(tmp_path, run, keys, seed):
    rng = random.Random(seed)
    key = keys.add("xfr.test.")
    server = start(run, tmp_path, keys)

    def ask(key, rdtype="AXFR", now=None, spoil=None):
        q = dns.message.make_query(ZONE, rdtype)
        q.use_tsig(key)
        if now is not None:
            q.use_tsig(key, fudge=300)
        wire = bytearray(q.to_wire())
        if spoil is not None:
            wire[spoil] ^= 1
        return raw(server, bytes(wire))

    def tsig_error(wire):
        """Of an answer that must not verify: rcode, and what its TSIG says."""
        tsig = tsig_of(wire)
        return wire[3] & 15, tsig.error if tsig else None

    nobody = dns.tsig.Key("nobody.test.", b"x" * 32, "hmac-sha256")
    assert tsig_error(ask(nobody)) == (9, 17)
    wrong = dns.tsig.Key("xfr.test.", b"x" * 32, "hmac-sha256")
    assert tsig_error(ask(wrong)) == (9, 16)
    algorithm = dns.tsig.Key("xfr.test.", key.secret, "hmac-sha512")
    assert tsig_error(ask(algorithm)) == (9, 17)
    # Any octet of the question changed.
    for at in rng.sample(range(12, 12 + len(ZONE) + 2), 5):
        code, error = tsig_error(ask(key, spoil=at))
        assert code in (1, 9) and error in (16, 17, None), at
    # Queries are signed too, and their answers.
    q = dns.message.make_query(ZONE, "SOA")
    q.use_tsig(key)
    reply = dns.query.udp(q, server.address, port=server.port, timeout=10)
    assert reply.had_tsig and reply.answer


def test_a_clock_that_is_wrong(tmp_path, run, keys, monkeypatch):
    key = keys.add("xfr.test.")
    server = start(run, tmp_path, keys)
    q = dns.message.make_query(ZONE, "SOA")
    q.use_tsig(key)
    real = dns.message.time.time
    monkeypatch.setattr(dns.message.time, "time", lambda: real() - 4000)
    wire = q.to_wire()
    monkeypatch.undo()
    answer = raw(server, wire)
    tsig = tsig_of(answer)
    assert answer[3] & 15 == 9 and tsig.error == 18
    # It is signed, and says what time it is here (RFC 8945 5.2.3).
    assert len(tsig.mac) == 32 and abs(int.from_bytes(tsig.other, "big") - real()) < 60


def test_many_at_once_beside_questions(tmp_path, run, keys):
    """A hundred transfers, some of which read nothing or go away, and questions meanwhile."""
    server = start(run, tmp_path, keys, names=20000, remotes=[{"name": "here", "address": "127.0.0.0/8"}],
                   server={"tcp-clients-per-address": 500, "workers": 2})
    records, _ = transfer(server)
    assert_whole(server, records)
    q = dns.message.make_query(ZONE, "AXFR", use_edns=False)
    wire = q.to_wire()

    def ask():
        s = socket.create_connection((server.address, server.port), timeout=60)
        s.sendall(struct.pack("!H", len(wire)) + wire)
        return s

    def octets():
        with ask() as s:
            return b"".join(itertools.islice(frames(s), len(first)))

    first = []
    with ask() as s:
        total = 0
        for m in frames(s):
            first.append(m)
            total += struct.unpack("!H", m[6:8])[0]
            if total == len(records):
                break
    whole = b"".join(first)
    errors, done, over = [], [], threading.Event()

    def one(i):
        try:
            if i % 5 == 0:
                with ask():
                    if i % 10 == 0:
                        # Reads nothing, and stays.
                        assert over.wait(300)
                return
            assert octets() == whole
            done.append(i)
        except Exception as e:  # noqa: BLE001 - handed to the main thread
            errors.append(e)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(100)]
    for t in threads:
        t.start()
    asked = 0
    while len(done) + len(errors) < 80:
        reply = server.ask(f"h{asked % 20000:06}.{ZONE}", "A", timeout=20)
        assert reply.rcode() == 0 and reply.answer
        asked += 1
    over.set()
    for t in threads:
        t.join()
    assert not errors, errors[:3]
    assert len(done) == 80 and asked > 0
    wait_for(lambda: server.ctl_json("status")["workers"]["transfers"] >= 82, what="the transfers counted")
    assert server.stop() == 0, server.text()


def test_a_question_behind_transfers_is_answered(tmp_path, run, keys):
    """Transfers of which nothing is read fill what a connection may owe: a question that comes then waits for them."""
    server = start(run, tmp_path, keys, names=60000, remotes=[{"name": "here", "address": "127.0.0.1"}])
    q = dns.message.make_query(ZONE, "AXFR", use_edns=False)
    soa = dns.message.make_query(ZONE, "SOA")
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(60)
        s.connect((server.address, server.port))
        wire = q.to_wire()
        s.sendall((struct.pack("!H", len(wire)) + wire) * 4)
        looks = [0]

        def still():
            """Nothing more comes: the receiver is full, and so is all on the way to it."""
            with open(f"/proc/{server.child.pid}/stat") as f:
                looks.append(sum(int(x) for x in f.read().rsplit(")", 1)[1].split()[11:13]))
            return len(looks) > 25 and len(set(looks[-20:])) == 1
        wait_for(still, what="the server is at rest")
        wire = soa.to_wire()
        s.sendall(struct.pack("!H", len(wire)) + wire)
        ends = 0
        for data in frames(s):
            if data[:2] == wire[:2]:
                break
            ends += 1
        else:
            raise AssertionError(f"closed after {ends} messages")
    assert dns.message.from_wire(data).answer


def test_stop_while_transferring(tmp_path, run, keys):
    key = keys.add("xfr.test.")
    server = start(run, tmp_path, keys, names=50000)
    q = dns.message.make_query(ZONE, "AXFR")
    q.use_tsig(key)
    wire = q.to_wire()
    with socket.create_connection((server.address, server.port), timeout=20) as s:
        s.sendall(struct.pack("!H", len(wire)) + wire)
        s.recv(1)
        assert server.stop() == 0, server.text()


def test_secrets_that_cannot_be_used(tmp_path, run, keys):
    keys.add("xfr.test.")
    server = start(run, tmp_path, keys)
    assert server.stop() == 0
    path = keys.conf[0]["secret-file"]
    for text, words in (("not base64!\n", "not a secret in base64"), ("", "not a secret in base64")):
        with open(path, "w") as f:
            f.write(text)
        server.run(wait=False)
        assert server.child.wait(30) == 1
        assert words in server.text() and path in server.text()
