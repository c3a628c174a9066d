"""That the race is fair: equal answers from every server, no rate limit, no round robin, no log line for a question."""

import os
import socket

import context  # noqa: F401  (puts tests/functional in the path)
import dns.exception
import dns.flags
import dns.message
import dns.rdatatype

import zones

ASKED = 100        # questions of each mix that must get equal answers
BURST = 400        # equal questions at once; a rate limit would drop or truncate some
BURST_STEP = 50    # so many in flight, less than any socket's buffer
ROTATE = 12


def reduced(rrset, resigned):
    """The records of one RRset as a set; where the server signs itself its signatures are its own."""
    own = resigned and rrset.rdtype == dns.rdatatype.RRSIG
    return {(rrset.name.to_text().lower(), rrset.ttl, rrset.rdtype, rrset.covers, "" if own else rdata.to_text())
            for rdata in rrset}


def section(rrsets, resigned):
    found = set()
    for rrset in rrsets:
        found |= reduced(rrset, resigned)
    return frozenset(found)


def essence(reply, resigned):
    """(what must be equal, what is only counted where it differs)"""
    flags = reply.flags & (dns.flags.AA | dns.flags.TC)
    return ((reply.rcode(), int(flags), section(reply.answer, resigned)),
            (section(reply.authority, resigned), section(reply.additional, resigned)))


def same_answers(ctx, servers, names, do):
    """Asks all servers the same questions; a different rcode, AA, TC or answer section ends the benchmark. Authority
    and additional sections are compared too, and what differs there is counted and shown."""
    base = servers["signet"]
    resigned = "signet-online" in servers
    found = {"questions": 0, "servers": list(servers), "differences": {}}
    for mix in zones.MIXES:
        with open(zones.queries(ctx, mix, names)) as f:
            lines = [next(f).split() for _ in range(ASKED)]
        for name, rdtype in lines:
            found["questions"] += 1
            want = {own: essence(base.ask(name, rdtype, do=do), own) for own in {False, resigned}}
            for label, server in servers.items():
                own = label == "signet-online"
                got = essence(server.ask(name, rdtype, do=do), own)
                if got[0] != want[own][0]:
                    raise SystemExit(f"{label} differs on {name} {rdtype}:\n{got[0]}\nsignet:\n{want[own][0]}")
                if got[1] != want[own][1]:
                    note = found["differences"].setdefault(label, {"count": 0, "first": None})
                    note["count"] += 1
                    note["first"] = note["first"] or {
                        "question": f"{name} {rdtype}", "it alone": unlike(got[1], want[own][1]),
                        "signet alone": unlike(want[own][1], got[1])}
    return found


def unlike(some, others):
    return sorted(" ".join(map(str, record)) for a, b in zip(some, others) for record in a - b)


def burst(server, query):
    """Whole answers to the same question asked many times in a moment, from one address."""
    whole = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.connect((server.address, server.port))
        for _ in range(BURST // BURST_STEP):
            for _ in range(BURST_STEP):
                s.send(query)
            for _ in range(BURST_STEP):
                try:
                    reply = s.recv(65535)
                except TimeoutError:
                    break
                whole += not reply[2] & 0x02
    return whole


def fair(servers, apex=zones.APEX):
    """Per server: whether a burst was answered in full, and whether the order of an RRset stayed."""
    found = {}
    query = dns.message.make_query(f"no-such-name.{apex}", "A").to_wire()
    for label, server in servers.items():
        whole = burst(server, query)
        orders = {tuple(r.to_text() for rrset in server.ask(apex, "NS").answer for r in rrset) for _ in range(ROTATE)}
        found[label] = {"burst_answered": whole / BURST, "orders_of_ns": len(orders)}
        if whole < BURST:
            raise SystemExit(f"{label} answered {whole} of {BURST} equal questions: a rate limit?")
        if len(orders) != 1:
            raise SystemExit(f"{label} turns the records of an RRset from answer to answer")
    return found


def log_octets(servers):
    return {label: os.path.getsize(server.log_path) for label, server in servers.items()}


def quiet(servers, before):
    """Octets that each server logged since; raises where it was so many that it wrote of questions."""
    grown = {label: octets - before[label] for label, octets in log_octets(servers).items()}
    for label, octets in grown.items():
        if octets > 65536:
            raise SystemExit(f"{label} logged {octets} octets while it was measured")
    return grown
