"""Asks several servers the same questions and says where their answers differ.

An answer is compared as what it means: return code, AA, TC, and answer and authority as sets of records.
The NS set of positive answers is optional, so it is left out of the comparison. The additional section
is optional but for glue: see additional_fault().
"""

import random
import select
import socket
import time
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
import dns.rrset
import dns.zone

import zonedata

TYPES = ["A", "AAAA", "NS", "CNAME", "SOA", "MX", "TXT", "DS", "DNSKEY", "NSEC", "SRV", "CAA", "HTTPS", "DNAME",
         "PTR", "NSEC3PARAM", "CDS", "TYPE65280", "ANY"]
WINDOW = 48


@dataclass(frozen=True)
class Question:
    name: str
    rdtype: str
    do: bool = False
    size: int = 1232  # 0: no EDNS
    tcp: bool = False

    def wire(self, ident):
        q = dns.message.make_query(self.name, self.rdtype, use_edns=0 if self.size else -1,
                                   payload=self.size or 512, want_dnssec=self.do)
        q.flags &= ~dns.flags.RD
        q.id = ident
        return q.to_wire()

    def __str__(self):
        extra = [x for x, on in (("+do", self.do), ("+tcp", self.tcp)) if on]
        return " ".join([self.name, self.rdtype, *extra, f"+bufsize={self.size}"])


@dataclass
class Reply:
    rcode: str
    aa: bool
    tc: bool
    answer: frozenset
    authority: frozenset
    additional: frozenset
    question: str
    other: tuple = field(default=())  # RA, AD, CD, RD, opcode

    def meaning(self):
        if self.tc:
            return (self.rcode, "TC")
        authority = self.authority
        if self.answer and self.aa:
            authority = frozenset(r for r in authority if r[1] != "NS" and not (r[1] == "RRSIG" and
                                                                               r[3].startswith("NS ")))
        return (self.rcode, self.aa, self.answer, authority)


def records(section):
    out = set()
    for rrset in section:
        kind = dns.rdatatype.to_text(rrset.rdtype)
        owner = rrset.name.to_text().lower()
        for rd in rrset:
            text = rd.to_text()
            if kind == "RRSIG":
                # Names in presentation form differ in case only.
                parts = text.split()
                parts[7] = parts[7].lower()
                text = " ".join(parts)
            elif kind not in ("TXT", "CAA", "DNSKEY", "HINFO", "NAPTR"):
                text = text.lower()
            out.add((owner, kind, rrset.ttl, text))
    return frozenset(out)


def parse(wire):
    m = dns.message.from_wire(wire, ignore_trailing=False, raise_on_truncation=False)
    flags = m.flags
    return Reply(
        rcode=dns.rcode.to_text(m.rcode()), aa=bool(flags & dns.flags.AA), tc=bool(flags & dns.flags.TC),
        answer=records(m.answer), authority=records(m.authority), additional=records(m.additional),
        question=" ".join(q.to_text() for q in m.question),
        other=(bool(flags & dns.flags.RA), bool(flags & dns.flags.AD), bool(flags & dns.flags.CD),
               bool(flags & dns.flags.RD), m.opcode()))


def ask_udp(server, questions):
    """Wires of the replies, in order; asked again a few times where one is lost."""
    got = [None] * len(questions)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((server.address, server.port))
        s.setblocking(False)
        for first in range(0, len(questions), WINDOW):
            part = range(first, min(first + WINDOW, len(questions)))
            for attempt in range(4):
                waiting = {i & 0xffff: i for i in part if got[i] is None}
                if not waiting:
                    break
                for ident, i in waiting.items():
                    s.send(questions[i].wire(ident))
                end = time.monotonic() + 3
                while waiting and time.monotonic() < end:
                    if not select.select([s], [], [], max(0, end - time.monotonic()))[0]:
                        break
                    try:
                        wire = s.recv(65535)
                    except ConnectionRefusedError:
                        raise RuntimeError(f"{server.name} is gone:\n{server.text()[-2000:]}") from None
                    i = waiting.pop(int.from_bytes(wire[:2], "big"), None)
                    if i is not None:
                        got[i] = wire
    return got


def recv_exact(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def ask_tcp(server, questions):
    """One connection for each window, pipelined; answers in any order."""
    got = [None] * len(questions)
    for first in range(0, len(questions), WINDOW):
        part = range(first, min(first + WINDOW, len(questions)))
        with socket.create_connection((server.address, server.port), timeout=10) as s:
            for i in part:
                wire = questions[i].wire(i & 0xffff)
                s.sendall(len(wire).to_bytes(2, "big") + wire)
            for _ in part:
                wire = recv_exact(s, int.from_bytes(recv_exact(s, 2), "big"))
                i = first + ((int.from_bytes(wire[:2], "big") - first) & 0xffff)
                got[i] = wire
    return got


def ask_all(server, questions):
    out = [None] * len(questions)
    for tcp, ask in ((False, ask_udp), (True, ask_tcp)):
        index = [i for i, q in enumerate(questions) if q.tcp == tcp]
        for i, wire in zip(index, ask(server, [questions[i] for i in index])):
            out[i] = wire
    return out


def zone_records(paths):
    """All records of the files, in the form of records()."""
    out = set()
    for apex, path in paths.items():
        zone = dns.zone.from_file(path, origin=apex, relativize=False, check_origin=False)
        for name, node in zone.nodes.items():
            out |= records([dns.rrset.from_rdata_list(name, r.ttl, list(r)) for r in node.rdatasets])
    return out


def additional_fault(mine, peers, zone):
    """What is wrong with the additional section, or None. It may hold what a peer sends, and what the zones (records of
    the files) have of a host that the answer names; glue that every peer sends must be there."""
    if mine.tc:
        return None
    known = frozenset().union(*(p.additional for p in peers if not p.tc))
    named = {word for r in mine.answer | mine.authority for word in r[3].split()}
    extra = {r for r in mine.additional - known
             if r not in zone or r[0] not in named or not (r[1] in ("A", "AAAA") or r[3].startswith(("A ", "AAAA ")))}
    if extra:
        return f"additional that no peer gives: {sorted(extra)[:3]}"
    if not mine.aa and mine.rcode == "NOERROR":
        whole = [p.additional for p in peers if not p.tc]
        lost = frozenset.intersection(*whole) - mine.additional if whole else frozenset()
        if lost:
            return f"glue left out: {sorted(lost)[:3]}"
    return None


def questions_for(zones, rng, random_count):
    """zones: apex -> path. Every owner by every type, then random ones."""
    every = []
    pool = []
    for apex, path in zones.items():
        for name, types in zonedata.names_of(path, apex).items():
            if not name.is_absolute():
                name = name.concatenate(dns.name.from_text(apex))
            text = name.to_text()
            pool.append(name)
            if dns.rdatatype.NSEC3 in types:
                every += [Question(text, t, do=True) for t in ("A", "NSEC3")]
                continue
            for t in TYPES:
                every.append(Question(text, t, do=False))
                every.append(Question(text, t, do=True))
    labels = [b"a", b"zz", b"*", b"\x00", b"\xff", b"host5", b"ns", b"www", b"sub", b"0", b"_tcp", b"x" * 63]
    for _ in range(random_count):
        name = rng.choice(pool)
        kind = rng.random()
        try:
            if kind < 0.5:
                for _ in range(rng.randint(1, 3)):
                    name = dns.name.Name((rng.choice(labels),) + name.labels)
            elif kind < 0.7 and len(name.labels) > 3:
                name = dns.name.Name(name.labels[1:])
            elif kind < 0.9:
                first = bytearray(name.labels[0])
                if first:
                    at = rng.randrange(len(first))
                    first[at] = (first[at] + rng.choice([1, 255])) & 255
                name = dns.name.Name((bytes(first),) + name.labels[1:])
        except (dns.name.NameTooLong, dns.name.LabelTooLong, dns.name.EmptyLabel):
            continue
        every.append(Question(zonedata.mixed_case(name, rng), rng.choice(TYPES), do=rng.random() < 0.6,
                              size=rng.choice([0, 512, 1232, 1232, 4096]), tcp=rng.random() < 0.15))
    every = [q if q.size else Question(q.name, q.rdtype, False, 0, q.tcp) for q in every]
    rng.shuffle(every)
    return every
