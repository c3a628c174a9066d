"""Strangers who walk through a zone that is not signed yet, with keys in a slow HSM: others are answered meanwhile, and
the strangers are too, with signatures or with an error."""

import os
import random
import select
import socket
import threading
import time

import dns.edns
import dns.message
import dns.rcode
import dns.rdatatype

from daemon import BUILD, Signet, policy, softhsm_module
from procs import wait_for

ZONE = "budget.test"
P11WRAP = os.path.abspath(os.path.join(BUILD, "tests", "tools", "p11wrap.so"))
NAMES = 4000
SIGN_MS = 50
SESSIONS = 4
# Questions a second that each part of the flood has, about: in all 25 times the signatures that the HSM can make. The
# parts have sockets of their own, so that every worker gets some.
RATE = 500
PARTS = 4
# Far more than anything here takes, and less than for ever.
PATIENCE = 60


def write_zone(path):
    with open(path, "w") as f:
        f.write("$TTL 60\n@ SOA ns h 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\n")
        f.writelines(f"h{i:06} A 192.0.2.2\n" for i in range(NAMES))


class Slow:
    """The token behind a module that takes its time."""

    def __init__(self, folder, token):
        self.control = os.path.join(folder, "wrap.control")
        self.env = {**token.env, "P11WRAP_MODULE": softhsm_module(), "P11WRAP_CONTROL": self.control}
        self.keystore = {**token.keystore(sessions=SESSIONS), "module": P11WRAP}
        self.rules = 0
        self.delay(SIGN_MS)

    def delay(self, ms):
        self.rules += 1
        with open(self.control + ".new", "w") as f:
            f.write(f"C_Sign delay {ms} -1 {self.rules}\n")
        os.rename(self.control + ".new", self.control)


def question(number, name):
    q = dns.message.make_query(f"{name}.{ZONE}", "A", use_edns=0, payload=1232, want_dnssec=True)
    q.id = number
    return q.to_wire()


def is_signed(reply):
    """Every RRset has its RRSIG."""
    sections = reply.answer + reply.authority
    signed = {(rr.name, rr.covers) for rr in sections if rr.rdtype == dns.rdatatype.RRSIG}
    plain = {(rr.name, rr.rdtype) for rr in sections if rr.rdtype != dns.rdatatype.RRSIG}
    return bool(plain) and plain == signed


def errors(reply):
    return [int(o.code) for o in reply.options if isinstance(o, dns.edns.EDEOption)]


def is_right(reply, exists):
    """Signed, or the error of one that is not."""
    if reply.rcode() == dns.rcode.SERVFAIL:
        return errors(reply) == [10] and not reply.answer  # RRSIGs Missing
    return reply.rcode() == (dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN) and is_signed(reply)


class Flood(threading.Thread):
    """Asks from one address for names that nobody asked for, at RATE, until it is stopped and all is answered."""

    def __init__(self, server, source, names):
        super().__init__()
        self.names = names
        self.enough = threading.Event()
        self.open = {}  # question: its name, and when it was sent
        self.first = {}  # question: when it was asked first
        self.replies = {}  # question: reply, and after how long
        self.failed = None
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.socket.bind((source, 0))
        self.socket.connect((server.address, server.port))

    def send(self, number, name):
        self.open[number] = (name, time.monotonic())
        self.first.setdefault(number, time.monotonic())
        self.socket.send(question(number, name))

    def drain(self, wait):
        while select.select([self.socket], [], [], wait)[0]:
            reply = dns.message.from_wire(self.socket.recv(65535))
            name, _ = self.open.pop(reply.id, (None, 0))
            if name is not None:
                self.replies[reply.id] = (name, reply, time.monotonic() - self.first[reply.id])
            wait = 0

    def again(self):
        """What the network lost (a full buffer: the machine may be busy) is asked once more, as all clients do."""
        now = time.monotonic()
        for number, (name, sent) in list(self.open.items()):
            if now - sent > 5:
                self.send(number, name)

    def flood(self):
        begin = time.monotonic()
        for number, name in enumerate(self.names):
            self.send(number, name)
            self.drain(0)
            if self.enough.is_set():
                break
            # As fast as that, but not all at once.
            ahead = number / RATE - (time.monotonic() - begin)
            if ahead > 0.005:
                self.drain(ahead)
        end = time.monotonic() + PATIENCE
        while self.open and time.monotonic() < end:
            self.drain(0.2)
            self.again()

    def run(self):
        try:
            self.flood()
        except Exception as e:  # told where the test looks
            self.failed = e
        self.socket.close()


def ask(server, source, number, name):
    """Asked once; the reply, and what it took."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.bind((source, 0))
        s.connect((server.address, server.port))
        begin = time.monotonic()
        s.send(question(number, name))
        assert select.select([s], [], [], PATIENCE)[0], "no answer"
        return dns.message.from_wire(s.recv(65535)), time.monotonic() - begin


def workers(server):
    return server.ctl_json("status")["workers"]


def test_a_flood_from_one_prefix(tmp_path, run, token, seed):
    rng = random.Random(seed)
    folder = str(tmp_path)
    path = os.path.join(folder, "zone")
    write_zone(path)
    slow = Slow(folder, token)
    server = run(Signet, folder, {"keystores": [slow.keystore], "policies": [policy()],
                                  "zones": [{"name": ZONE, "file": path, "policy": "default"}]}, env=slow.env)
    # Half of the names exist; the last hundred are nobody's but the other client's.
    known = [f"h{i:06}" for i in range(NAMES - 100)]
    rng.shuffle(known)
    names = [name for name in known for name in (name, f"{name}x{rng.randrange(1 << 32)}")] * 4
    floods = [Flood(server, f"127.0.1.{i + 1}", names[i::PARTS]) for i in range(PARTS)]
    for flood in floods:
        flood.start()
    try:
        # More than there is room for, and it goes on.
        wait_for(lambda: workers(server)["udp_queries"] > 6000, PATIENCE, "the flood")
        slowest = 0
        for i in range(20):
            name = f"h{NAMES - 1 - 2 * i:06}" + ("x" if i % 5 == 4 else "")
            reply, took = ask(server, "127.0.2.1", i, name)
            assert reply.rcode() == (dns.rcode.NXDOMAIN if i % 5 == 4 else dns.rcode.NOERROR), (i, took, reply)
            assert is_signed(reply), (i, took, reply)
            slowest = max(slowest, took)
        counted = workers(server)
    finally:
        for flood in floods:
            flood.enough.set()
        for flood in floods:
            flood.join()
    replies = [r for flood in floods for r in flood.replies.values()]
    print(f"slowest {slowest:.3f} s; {len(replies)} questions of the flood; {counted}")
    assert all(flood.failed is None for flood in floods), [flood.failed for flood in floods]
    assert counted["over_share"] >= 100 and counted["over_budget"] > 0
    # No answer that is parked is later than two seconds; the rest is the machine's.
    assert slowest < 5
    assert not any(flood.open for flood in floods), [len(flood.open) for flood in floods]
    for name, reply, took in replies:
        assert is_right(reply, "x" not in name), (name, took, reply)
    assert {reply.rcode() for _, reply, _ in replies} == {dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.SERVFAIL}

    # It is over, and all gets signed; who flooded is answered like everybody.
    slow.delay(0)
    server.wait_complete(ZONE)
    for i, name in enumerate(rng.sample(names, 100)):
        reply, _ = ask(server, "127.0.1.1", i, name)
        assert reply.rcode() == (dns.rcode.NXDOMAIN if "x" in name else dns.rcode.NOERROR) and is_signed(reply), reply
    counted = workers(server)
    assert counted["parked_now"] == 0 and counted["send_dropped"] == 0
    assert server.stop() == 0
