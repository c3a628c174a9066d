"""Keys in the process sign what is asked and was never asked before: all of it is answered once and verifies, over UDP
and TCP, beside what is signed already, while the zone is reloaded, and when the server is stopped meanwhile."""

import random
import select
import socket
import struct
import subprocess

import dns.message
import dns.rdatatype

from daemon import Signet
from procs import program

ZONE = "cold.test"
STEP = 2000  # names that each reload adds at the end, where the background signs last
LONG_STEP = 20000  # as many as two cores of the day need most of a second for
BURST = 200  # questions in flight


def write_zone(path, serial, names):
    with open(path, "w") as f:
        f.write(f"$TTL 60\n@ SOA ns h {serial} 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\n")
        f.writelines(f"h{i:06} A 192.0.2.2\n" for i in range(names))


def start(run, folder):
    path = str(folder / "zone")
    write_zone(path, 1, STEP)
    conf = {"keystores": [{"name": "local", "type": "file"}],
            "policies": [{"name": "p", "signing": "online", "csk": {"keystore": "local"}}],
            "zones": [{"name": ZONE, "file": path, "policy": "p"}]}
    return run(Signet, folder, conf, server={"workers": 1}), path


def question(number, name, rdtype="A"):
    q = dns.message.make_query(f"{name}.{ZONE}" if name else ZONE, rdtype, use_edns=0, payload=1232, want_dnssec=True)
    q.id = number
    return q.to_wire()


def ask_udp(server, questions):
    """The replies, each question asked once and, where nothing came for a while, again."""
    replies = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((server.address, server.port))
        s.setblocking(False)
        for first in range(0, len(questions), BURST):
            part = range(first, min(first + BURST, len(questions)))
            for i in part:
                s.send(questions[i])
            tries = 0
            while any(i not in replies for i in part):
                if not select.select([s], [], [], 2)[0]:
                    tries += 1
                    assert tries < 20, "no answer"
                    for i in part:
                        if i not in replies:
                            s.send(questions[i])
                    continue
                wire = s.recv(65535)
                number = int.from_bytes(wire[:2], "big")
                assert number not in replies or tries > 0, "answered twice"
                replies[number] = dns.message.from_wire(wire)
        assert not select.select([s], [], [], 0.05)[0] or tries > 0, "more answers than questions"
    return [replies[i] for i in range(len(questions))]


def ask_tcp(server, questions):
    """All questions one after the other, then all replies, in any order."""
    replies = {}
    # Through a file: a socket with a time limit gives what is there, MSG_WAITALL or not.
    with socket.create_connection((server.address, server.port), timeout=60) as s, s.makefile("rb") as stream:
        s.sendall(b"".join(struct.pack("!H", len(q)) + q for q in questions))
        for _ in questions:
            size = struct.unpack("!H", stream.read(2))[0]
            reply = dns.message.from_wire(stream.read(size))
            assert reply.id not in replies, "answered twice"
            replies[reply.id] = reply
    return [replies[i] for i in range(len(questions))]


def check(replies, rcodes, signatures):
    """Every RRset in an answer has its RRSIG; they go to 'signatures' as lines of text."""
    for reply, rcode in zip(replies, rcodes):
        assert reply.rcode() == rcode, reply
        sections = reply.answer + reply.authority
        signed = {(rr.name, rr.covers) for rr in sections if rr.rdtype == dns.rdatatype.RRSIG}
        plain = {(rr.name, rr.rdtype) for rr in sections if rr.rdtype != dns.rdatatype.RRSIG}
        assert plain and plain == signed, reply
        for rr in sections:
            if rr.rdtype == dns.rdatatype.RRSIG:
                signatures.update((str(rr.name).lower(), rdata.to_text()) for rdata in rr)


def mixed(rng, first, count):
    """Cold names and warm ones, and those that do not exist, in any order; with the codes they must get."""
    names = [(f"h{i:06}", 0) for i in range(first, first + count)]
    names += [(f"h{i:06}x", 3) for i in range(first, first + count, 4)]
    names += [("ns", 0)] * (count // 2) + [("", 0)] * (count // 2)
    rng.shuffle(names)
    questions = [question(i, name, "SOA" if name == "" else "A") for i, (name, _) in enumerate(names)]
    return questions, [rcode for _, rcode in names]


def later(server):
    return server.ctl_json("status")["workers"]["later"]


def test_cold_and_warm_questions(tmp_path, run, seed):
    rng = random.Random(seed)
    server, path = start(run, tmp_path)
    names = STEP
    seen = set()
    # Each round finds new names unsigned, the last ones first. That the background is faster than a whole round of
    # questions is possible, not likely, and not ten times.
    for serial in range(2, 12):
        names += LONG_STEP
        write_zone(path, serial, names)
        server.ctl("zone", "reload", ZONE)
        before = later(server)
        signatures = set()
        questions, rcodes = mixed(rng, names - 400, 400)
        check(ask_udp(server, questions), rcodes, signatures)
        questions, rcodes = mixed(rng, names - 800, 400)
        check(ask_tcp(server, questions), rcodes, signatures)
        seen = signatures
        if later(server) > before and serial > 3:
            break
    assert later(server) > 0
    # What was answered is what stands in the zone, and the zone verifies.
    text = server.wait_complete(ZONE)
    dump = tmp_path / "dump"
    dump.write_text(text)
    done = subprocess.run([program("dnssec-verify"), "-z", "-o", ZONE, str(dump)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    kept = set()
    for line in text.splitlines():
        fields = line.split()
        if "RRSIG" in fields[:5]:
            at = fields.index("RRSIG")
            kept.add((fields[0].lower(), "".join(fields[at + 9:])))
    answered = {(name, "".join(rdata.split()[8:])) for name, rdata in seen}
    assert answered <= kept, sorted(answered - kept)[:3]
    assert server.stop() == 0


def test_reload_and_stop_while_cold(tmp_path, run, seed):
    """Reloads while questions wait to be signed for, then the end of it: an answer is right, or does not come."""
    rng = random.Random(seed)
    server, path = start(run, tmp_path)
    names = STEP
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.connect((server.address, server.port))
        s.setblocking(False)
        answers = 0
        for serial in range(2, 12):
            names += STEP
            write_zone(path, serial, names)
            server.ctl("zone", "reload", ZONE)
            for i in rng.sample(range(names - STEP, names), BURST):
                s.send(question(rng.randrange(65536), f"h{i:06}"))
            if serial < 11:
                # The next version, while they wait.
                write_zone(path, serial, names)
                server.ctl("zone", "reload", ZONE)
            else:
                assert server.stop() == 0, server.text()
            while select.select([s], [], [], 0)[0]:
                try:
                    reply = dns.message.from_wire(s.recv(65535))
                except ConnectionRefusedError:
                    break
                assert reply.rcode() == 0 and len(reply.answer) == 2, reply
                answers += 1
    assert answers > BURST
