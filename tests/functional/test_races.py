"""Queries, reloads and signing at once, for the thread sanitizer to watch (and any other build to survive)."""

import os
import random
import socket
import struct
import threading
import time

import dns.message

from conftest import SOAK_S
from daemon import Signet, policy

SECONDS = SOAK_S or 40


def zone_text(serial, rng):
    lines = ["$TTL 60", f"@ SOA ns hostmaster {serial} 3600 600 86400 60", "@ NS ns", "ns A 192.0.2.1"]
    for i in range(400):
        if rng.random() < 0.9:
            lines.append(f"h{i} A 192.0.2.{rng.randrange(250)}")
    lines += [f"cut{i} NS ns.cut{i}\nns.cut{i} A 192.0.2.9" for i in range(20) if rng.random() < 0.8]
    lines.append("*.wild A 192.0.2.4")
    return "\n".join(lines) + "\n"


def ask_until(port, stop, rng, tcp, counts, index):
    names = [f"h{i}" for i in range(420)] + [f"x.cut{i}" for i in range(20)] + ["a.wild", "no.such", "@"]
    kind = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as s:
        s.settimeout(5)
        s.connect(("127.0.0.1", port))
        stream = s.makefile("rb") if tcp else None
        while not stop.is_set():
            name = rng.choice(names)
            zone = rng.choice(["race.test", "file.test"])
            name = zone if name == "@" else f"{name}.{zone}"
            q = dns.message.make_query(name, rng.choice(["A", "TXT", "DS", "DNSKEY"]), use_edns=0,
                                       want_dnssec=rng.random() < 0.8).to_wire()
            s.send(struct.pack("!H", len(q)) + q if tcp else q)
            if tcp:
                # Through a file: a socket with a time limit gives what is there, MSG_WAITALL or not.
                reply = stream.read(struct.unpack("!H", stream.read(2))[0])
            else:
                try:
                    reply = s.recv(4096)
                except TimeoutError:
                    continue
            assert reply[3] & 15 in (0, 3), f"{name}: rcode {reply[3] & 15}"
            counts[index] += 1


def test_queries_reloads_and_signing_at_once(tmp_path, token, run, seed):
    rng = random.Random(seed)
    paths = {z: str(tmp_path / z) for z in ("race.test", "plain.test", "file.test")}
    for path in paths.values():
        with open(path, "w") as f:
            f.write(zone_text(1, rng))
    conf = {"keystores": [token.keystore(sessions=3), {"name": "local", "type": "file"}],
            "policies": [policy(**{"signature-validity": "2h", "signature-refresh": "1h"}),
                         {"name": "here", "signing": "online", "csk": {"keystore": "local"}}],
            "zones": [{"name": "race.test", "file": paths["race.test"], "policy": "default", "watch": True},
                      {"name": "file.test", "file": paths["file.test"], "policy": "here", "watch": True},
                      {"name": "plain.test", "file": paths["plain.test"], "watch": True}]}
    server = run(Signet, tmp_path, conf, env=token.env)
    stop = threading.Event()
    counts = [0] * 6
    errors = []

    def guarded(*args):
        try:
            ask_until(*args)
        except Exception as e:  # noqa: BLE001 - handed to the main thread
            errors.append(e)
            stop.set()

    threads = [threading.Thread(target=guarded, args=(server.port, stop, random.Random(seed + i), i % 3 == 2, counts, i))
               for i in range(6)]
    for t in threads:
        t.start()
    end = time.monotonic() + SECONDS
    serial = 1
    while time.monotonic() < end and not stop.is_set() and server.alive():
        serial += 1
        for zone, path in paths.items():
            with open(path + ".new", "w") as f:
                f.write(zone_text(serial, rng))
            os.rename(path + ".new", path)
            server.ctl("zone", "reload", zone)
        server.ctl("status")
    stop.set()
    for t in threads:
        t.join()
    assert not errors, errors
    assert server.stop() == 0, server.text()[-4000:]
    assert "WARNING: ThreadSanitizer" not in server.text()
    assert serial > 3 and all(c > 50 for c in counts), (serial, counts)
