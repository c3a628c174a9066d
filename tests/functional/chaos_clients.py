"""Those who ask while keystores are in trouble: for what is signed, for what is not yet, directly and through a validator."""

import collections
import socket
import struct
import threading
import time

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

SILENCE_S = 20  # no answer at all: far beyond what is allowed, so that it is told from a late one
COLD_S = 2.0  # a question waits that long for its signature
SLACK_S = 3.0  # on a machine that others use too
RRSIGS_MISSING = 10  # RFC 8914
BOGUS = {6, 7, 8}  # RFC 8914: bogus, expired, not yet valid


class Channel:
    """Questions to one server, one after the other, over UDP or one TCP connection."""

    def __init__(self, port, tcp, rd=False):
        self.address = ("127.0.0.1", port)
        self.tcp = tcp
        self.rd = rd
        self.socket = self.stream = None
        self.number = 0

    def open(self):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM if self.tcp else socket.SOCK_DGRAM)
        self.socket.settimeout(SILENCE_S)
        self.socket.connect(self.address)
        # Through a file: a socket with a time limit gives what is there, MSG_WAITALL or not.
        self.stream = self.socket.makefile("rb") if self.tcp else None

    def close(self):
        for part in (self.stream, self.socket):
            if part is not None:
                part.close()
        self.socket = self.stream = None

    def exchange(self, wire):
        if not self.tcp:
            self.socket.send(wire)
            while True:
                reply = self.socket.recv(65535)
                if reply[:2] == wire[:2]:
                    return reply
        self.socket.sendall(struct.pack("!H", len(wire)) + wire)
        size = struct.unpack("!H", self.stream.read(2))[0]
        return self.stream.read(size)

    def ask(self, name, rdtype):
        """The reply, and how long it took."""
        q = dns.message.make_query(name, rdtype, use_edns=0, payload=4096, want_dnssec=True)
        self.number = (self.number + 1) % 65536
        q.id = self.number
        if not self.rd:
            q.flags &= ~dns.flags.RD
        if self.socket is None:
            self.open()
        begun = time.monotonic()
        wire = self.exchange(q.to_wire())
        took = time.monotonic() - begun
        reply = dns.message.from_wire(wire)
        assert reply.id == q.id and reply.question == q.question, f"not the answer to {q.question}: {reply}"
        return reply, took


def extended_errors(reply):
    return [o.code for o in reply.options if o.otype == dns.edns.OptionType.EDE]


def is_signed(reply):
    """Every RRset has its RRSIG."""
    for section in (reply.answer, reply.authority):
        signed = {(rr.name, rr.covers) for rr in section if rr.rdtype == dns.rdatatype.RRSIG}
        plain = {(rr.name, rr.rdtype) for rr in section if rr.rdtype != dns.rdatatype.RRSIG}
        if plain != signed:
            return False
    return bool(reply.answer or reply.authority)


class Names:
    """What is warm, for ever; and what is cold, until it was answered."""

    def __init__(self):
        self.warm = []  # (name, type, rcode)
        self.learned = collections.deque(maxlen=5000)
        self.cold = collections.deque()  # names with an A, the next to be asked last

    def draw_warm(self, rng):
        if self.learned and rng.random() < 0.5:
            return rng.choice(self.learned)
        name, rdtype, rcode = rng.choice(self.warm)
        return name.replace("{}", f"{rng.randrange(1 << 30):x}"), rdtype, rcode


class Client(threading.Thread):
    """Asks until it is told to stop; a fault of the server ends it, and is kept."""

    def __init__(self, names, rng, channel, each_s):
        super().__init__()
        self.names = names
        self.rng = rng
        self.channel = channel
        self.each_s = each_s  # between two questions
        self.stopping = threading.Event()
        self.failed = None
        self.asked = 0

    def run(self):
        try:
            while not self.stopping.wait(self.each_s):
                self.step()
        except Exception as e:  # noqa: BLE001 - told by finish()
            self.failed = e
        finally:
            self.channel.close()

    def finish(self):
        self.stopping.set()
        self.join()


class Warm(Client):
    """What was ever answered is answered, signed."""

    def __init__(self, *args):
        super().__init__(*args)
        self.took = []  # (when, how long)

    def step(self):
        name, rdtype, rcode = self.names.draw_warm(self.rng)
        when = time.monotonic()
        try:
            reply, took = self.channel.ask(name, rdtype)
        except TimeoutError:
            raise AssertionError(f"warm {name} {rdtype}: no answer within {SILENCE_S} s") from None
        assert reply.rcode() == rcode and is_signed(reply), f"warm {name} {rdtype} after {took:.3f} s:\n{reply}"
        self.took.append((when, took))
        self.asked += 1


class Cold(Client):
    """Answered, signed, or SERVFAIL with the reason, and in time; asked again until it is answered."""

    def __init__(self, *args):
        super().__init__(*args)
        self.refused = 0
        self.slowest = 0.0

    def step(self):
        try:
            name = self.names.cold.pop()
        except IndexError:
            return
        try:
            reply, took = self.channel.ask(name, "A")
        except TimeoutError:
            raise AssertionError(f"cold {name}: no answer within {SILENCE_S} s") from None
        assert took < COLD_S + SLACK_S, f"cold {name} after {took:.3f} s:\n{reply}"
        self.slowest = max(self.slowest, took)
        self.asked += 1
        if reply.rcode() == dns.rcode.SERVFAIL:
            assert RRSIGS_MISSING in extended_errors(reply) and not reply.answer, f"cold {name}:\n{reply}"
            self.refused += 1
            self.names.cold.appendleft(name)
            return
        assert is_signed(reply), f"cold {name}:\n{reply}"
        if reply.rcode() == dns.rcode.NOERROR and reply.answer:
            self.names.learned.append((name, "A", 0))
        else:
            # Not published yet: the version before is served, and says so.
            assert reply.rcode() == dns.rcode.NXDOMAIN, f"cold {name}:\n{reply}"
            self.names.cold.appendleft(name)


class WarmValidated(Client):
    """Through a validator, of which nothing but this is asked: secure."""

    def step(self):
        name, rdtype, rcode = self.names.draw_warm(self.rng)
        reply, took = self.channel.ask(name, rdtype)
        assert reply.rcode() == rcode and reply.flags & dns.flags.AD, \
            f"warm {name} {rdtype} through unbound after {took:.3f} s:\n{reply}"
        self.asked += 1


class ColdValidated(Client):
    """Through a validator: secure, or not to be had now, but never bogus."""

    def __init__(self, *args):
        super().__init__(*args)
        self.refused = 0

    def step(self):
        try:
            name = self.names.cold.pop()
        except IndexError:
            return
        # The others ask for it now.
        self.names.cold.append(name)
        try:
            reply, took = self.channel.ask(name, "A")
        except TimeoutError:
            # unbound tries for longer than this before it gives up.
            self.channel.close()
            self.refused += 1
            return
        assert not BOGUS & set(extended_errors(reply)), f"cold {name} through unbound after {took:.3f} s:\n{reply}"
        if reply.rcode() == dns.rcode.SERVFAIL:
            self.refused += 1
        else:
            assert reply.flags & dns.flags.AD, f"cold {name} through unbound after {took:.3f} s:\n{reply}"
        self.asked += 1
