"""The running server: messages good and bad, TCP, limits, reloads, signals."""

import os
import pwd
import signal
import socket
import struct
import subprocess
import time

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.opcode
import dns.query
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import pytest

from conftest import LONG
from daemon import SIGNETD, Signet, policy
from differ import recv_exact
from procs import program, wait_for

ZONE = """$TTL 300
@ SOA ns hostmaster {serial} 3600 600 86400 60
@ NS ns
ns A 192.0.2.1
www A {address}
"""


def write_zone(path, serial=1, address="192.0.2.80", extra=""):
    with open(path + ".new", "w") as f:
        f.write(ZONE.format(serial=serial, address=address) + extra)
    os.rename(path + ".new", path)


@pytest.fixture
def plain(tmp_path, run):
    path = str(tmp_path / "example.test.zone")
    write_zone(path, extra="".join(f"big A 198.51.100.{i}\n" for i in range(1, 201)))
    return run(Signet, tmp_path, {"zones": [{"name": "example.test", "file": path}]}), path


def udp_raw(server, wire, timeout=1.0):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(timeout)
        s.sendto(wire, (server.address, server.port))
        try:
            return s.recv(65535)
        except TimeoutError:
            return None


def tcp_connect(server):
    return socket.create_connection((server.address, server.port), timeout=20)


def tcp_send(s, message):
    wire = message if isinstance(message, bytes) else message.to_wire()
    s.sendall(struct.pack("!H", len(wire)) + wire)


def tcp_recv(s):
    return dns.message.from_wire(recv_exact(s, struct.unpack("!H", recv_exact(s, 2))[0]))


def query(name="www.example.test", rdtype="A", **kw):
    return dns.message.make_query(name, rdtype, **kw)


def address_of(server, name="www.example.test"):
    reply = server.ask(name, "A")
    return reply.answer[0][0].address if reply.answer else None


def test_malformed_messages(plain):
    server, _ = plain
    good = query().to_wire()
    assert udp_raw(server, good[:11], 0.3) is None, "too short to answer"
    response = bytearray(good)
    response[2] |= 0x80
    assert udp_raw(server, bytes(response), 0.3) is None, "a response is dropped"
    for name, wire in {
        "no question": good[:4] + b"\0\0" + good[6:12],
        "two questions": good[:4] + b"\0\2" + good[6:] + good[12:],
        "question cut": good[:-3],
        "pointer loop": good[:12] + b"\xc0\x0c\0\1\0\1",
        "label too long": good[:12] + b"\x7f" + b"a" * 20 + good[12:],
    }.items():
        reply = udp_raw(server, wire)
        assert reply is not None and reply[3] & 15 == dns.rcode.FORMERR, name
    assert server.ask("www.example.test", "A").rcode() == 0


def test_opcodes_and_classes(plain):
    server, _ = plain
    for opcode in (1, 2, 5, 6, 15):
        q = query()
        q.set_opcode(opcode)
        reply = udp_raw(server, q.to_wire())
        assert reply[3] & 15 == dns.rcode.NOTIMP and (reply[2] >> 3) & 15 == opcode
    q = dns.message.make_query("version.bind", "TXT", "CH")
    assert dns.query.udp(q, server.address, port=server.port, timeout=2).rcode() == dns.rcode.REFUSED
    q = dns.message.make_query("www.example.test", "A", "HS")
    assert dns.query.udp(q, server.address, port=server.port, timeout=2).rcode() == dns.rcode.REFUSED
    reply = server.ask("www.elsewhere.example", "A")
    assert reply.rcode() == dns.rcode.REFUSED and not reply.flags & dns.flags.AA
    assert [o for o in reply.options if o.otype == 15], "an extended error says why"


def test_edns(plain):
    server, _ = plain
    q = query(use_edns=0)
    q.ednsflags |= 1 << 16  # version 1
    reply = dns.query.udp(q, server.address, port=server.port, timeout=2)
    assert reply.rcode() == dns.rcode.BADVERS and reply.edns == 0
    q = query(use_edns=0, options=[dns.edns.GenericOption(65001, b"whatever")])
    reply = dns.query.udp(q, server.address, port=server.port, timeout=2)
    assert reply.rcode() == 0 and reply.payload == 1232 and not reply.options
    big = server.ask("big.example.test", "A", payload=4096)
    assert big.flags & dns.flags.TC and len(big.to_wire()) <= 1232
    assert len(server.ask("big.example.test", "A", tcp=True).answer[0]) == 200
    assert dns.query.udp(query(use_edns=-1), server.address, port=server.port, timeout=2).edns == -1


def test_nsid_and_chaos(tmp_path, run):
    path = str(tmp_path / "z")
    write_zone(path)
    server = run(Signet, tmp_path, {"zones": [{"name": "example.test", "file": path}]},
                 server={"nsid": "ns1.example.net"})
    q = query(use_edns=0, options=[dns.edns.GenericOption(dns.edns.NSID, b"")])
    reply = dns.query.udp(q, server.address, port=server.port, timeout=2)
    assert [o for o in reply.options if o.otype == dns.edns.NSID][0].to_wire() == b"ns1.example.net"
    assert not server.ask("www.example.test", "A").options


def test_tcp_pipelining(plain):
    server, _ = plain
    with tcp_connect(server) as s:
        wires = b""
        for i in range(200):
            q = query("big.example.test" if i % 3 == 0 else "www.example.test")
            q.id = i
            wire = q.to_wire()
            wires += struct.pack("!H", len(wire)) + wire
        s.sendall(wires)
        assert {tcp_recv(s).id for _ in range(200)} == set(range(200))


def test_tcp_byte_by_byte(plain):
    server, _ = plain
    wire = query().to_wire()
    with tcp_connect(server) as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for b in struct.pack("!H", len(wire)) + wire:
            s.sendall(bytes([b]))
        assert tcp_recv(s).rcode() == 0


def test_tcp_half_message_times_out(tmp_path, run):
    path = str(tmp_path / "z")
    write_zone(path)
    server = run(Signet, tmp_path, {"zones": [{"name": "example.test", "file": path}]},
                 server={"tcp-idle-timeout": "1s"})
    with tcp_connect(server) as idle, tcp_connect(server) as half:
        half.sendall(b"\0\x40abc")
        assert idle.recv(1) == b"" and half.recv(1) == b""
    assert server.ask("www.example.test", "A", tcp=True).rcode() == 0


def test_tcp_slow_reader_is_bounded(plain):
    """A client that asks and never reads: what is queued for it stays small, and others are served."""
    server, _ = plain
    wire = query("big.example.test").to_wire()
    block = (struct.pack("!H", len(wire)) + wire) * 500
    with tcp_connect(server) as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.settimeout(0.5)
        sent = 0
        try:
            while sent < 64 << 20:
                sent += s.send(block)
        except (TimeoutError, ConnectionError):
            pass
        assert sent < 64 << 20, "the server stopped reading"
        assert server.ask("www.example.test", "A", tcp=True).rcode() == 0
        with open(f"/proc/{server.child.pid}/statm") as f:
            assert int(f.read().split()[1]) * 4096 < 2 << 30


def test_tcp_clients_are_limited(tmp_path, run):
    path = str(tmp_path / "z")
    write_zone(path)
    server = run(Signet, tmp_path, {"zones": [{"name": "example.test", "file": path}]},
                 server={"tcp-clients-per-address": 10, "workers": 1})
    held = []
    try:
        answered = 0
        for _ in range(30):
            s = tcp_connect(server)
            held.append(s)
            try:
                tcp_send(s, query())
                tcp_recv(s)
                answered += 1
            except (EOFError, ConnectionError):
                pass
        assert answered == 10
    finally:
        for s in held:
            s.close()
    assert wait_for(lambda: server.ask("www.example.test", "A", tcp=True).rcode() == 0, what="a place free again")


def test_reload_by_control(plain):
    server, path = plain
    write_zone(path, 2, "192.0.2.81", extra="".join(f"big A 198.51.100.{i}\n" for i in range(1, 201)))
    assert address_of(server) == "192.0.2.80"
    done = server.ctl("zone", "reload", "example.test")
    assert address_of(server) == "192.0.2.81", done.stdout
    assert server.ask("example.test", "SOA").answer[0][0].serial == 2


def test_bad_file_leaves_the_old_serving(plain):
    server, path = plain
    with open(path, "a") as f:
        f.write("broken A 192.0.2.999\n")
    line = sum(1 for _ in open(path))
    done = server.ctl("zone", "reload", "example.test", check=False)
    assert done.returncode == 1 and f":{line}:" in done.stderr + done.stdout
    assert address_of(server) == "192.0.2.80"
    assert f":{line}:" in server.text()
    assert "192.0.2.999" in server.ctl("status").stdout + server.ctl("zone", "show", "example.test").stdout


def test_loses_half_wants_force(tmp_path, run):
    path = str(tmp_path / "z")
    write_zone(path, extra="".join(f"h{i} A 198.51.100.{i}\n" for i in range(1, 201)))
    server = run(Signet, tmp_path, {"zones": [{"name": "example.test", "file": path}]})
    write_zone(path, 2)
    done = server.ctl("zone", "reload", "example.test", check=False)
    assert done.returncode == 1 and "--force" in done.stderr
    assert address_of(server, "h7.example.test") == "198.51.100.7"
    server.ctl("zone", "reload", "example.test", "--force")
    assert address_of(server, "h7.example.test") is None


def test_sighup_reloads(plain):
    server, path = plain
    write_zone(path, 5, "192.0.2.82")
    with open(path, "a") as f:
        f.write("".join(f"big A 198.51.100.{i}\n" for i in range(1, 201)))
    server.child.send_signal(signal.SIGHUP)
    wait_for(lambda: address_of(server) == "192.0.2.82", what="the new version")


@pytest.mark.parametrize("how", ["rename", "in place"])
def test_watch(tmp_path, run, how):
    path = str(tmp_path / "z")
    write_zone(path)
    server = run(Signet, tmp_path, {"zones": [{"name": "example.test", "file": path, "watch": True}]})
    for i in range(2, 5):
        if how == "rename":
            write_zone(path, i, f"192.0.2.{i}")
        else:
            with open(path, "w") as f:
                f.write(ZONE.format(serial=i, address=f"192.0.2.{i}"))
        wait_for(lambda i=i: address_of(server) == f"192.0.2.{i}", what=f"edit {i} served")


def test_signed_reload_stays_signed(tmp_path, token, run):
    """Every answer during reloads is signed; the serial only grows."""
    path = str(tmp_path / "z")
    write_zone(path)
    conf = {"keystores": [token.keystore()], "policies": [policy()],
            "zones": [{"name": "example.test", "file": path, "policy": "default"}]}
    server = run(Signet, tmp_path, conf, env=token.env)
    server.wait_complete("example.test")
    serial = server.ask("example.test", "SOA").answer[0][0].serial
    for i in range(8):
        write_zone(path, 1, f"192.0.2.{100 + i}")
        server.ctl("zone", "reload", "example.test")
        reply = server.ask("www.example.test", "A", do=True)
        assert reply.answer[0][0].address == f"192.0.2.{100 + i}"
        assert any(r.rdtype == dns.rdatatype.RRSIG for r in reply.answer)
        now = server.ask("example.test", "SOA").answer[0][0].serial
        assert now > serial
        serial = now
    server.stop(signal.SIGKILL)
    server.run()
    assert server.ask("example.test", "SOA").answer[0][0].serial > serial


def test_stop_is_clean(plain):
    server, _ = plain
    server.ctl("stop")
    assert server.child.wait(20) == 0
    assert "Sanitizer" not in server.text()


def test_check_says_every_fault(tmp_path):
    conf = tmp_path / "signet.yaml"
    conf.write_text("server:\n  listen: [ \"127.0.0.1@99999\" ]\n  stat: /nowhere\nzones:\n"
                    "  - name: a.test\n    file: missing.zone\n    policy: none\n")
    done = subprocess.run([SIGNETD, "-c", str(conf), "--check"], capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    for place in (":2:", ":3:", ":6:", ":7:"):
        assert place in done.stderr, done.stderr


def test_ten_thousand_zones(tmp_path, run):
    folder = tmp_path / "zones"
    folder.mkdir()
    for i in range(10000):
        (folder / f"z{i}.test.zone").write_text(ZONE.format(serial=i + 1, address="192.0.2.7"))
    server = run(Signet, tmp_path, {"zones": [{"directory": str(folder)}]}, timeout=300)
    for i in range(0, 10000, 997):
        assert server.ask(f"z{i}.test", "SOA").answer[0][0].serial == i + 1
    assert len(server.ctl("zone", "list").stdout.splitlines()) >= 10000


def test_many_names(tmp_path, run):
    """A zone of 200,000 names (a million in the long run), and a record added to it."""
    count = 1000000 if LONG else 200000
    path = tmp_path / "z"
    with open(path, "w") as f:
        f.write(ZONE.format(serial=1, address="192.0.2.7"))
        for i in range(count):
            f.write(f"h{i} A 10.{i >> 16 & 255}.{i >> 8 & 255}.{i & 255}\n")
    server = run(Signet, tmp_path, {"zones": [{"name": "example.test", "file": str(path)}]}, timeout=300)
    last = count - 1
    assert address_of(server, f"h{last}.example.test") == f"10.{last >> 16 & 255}.{last >> 8 & 255}.{last & 255}"
    assert server.ask(f"h{count}.example.test", "A").rcode() == dns.rcode.NXDOMAIN
    with open(path, "a") as f:
        f.write(f"h{count} A 192.0.2.99\n")
    server.ctl("zone", "reload", "example.test")
    assert address_of(server, f"h{count}.example.test") == "192.0.2.99"


def test_wildcard_address_replies_from_where_it_was_asked(tmp_path, run):
    path = str(tmp_path / "z")
    write_zone(path)
    server = run(Signet, tmp_path, {"zones": [{"name": "example.test", "file": path}]}, listen="0.0.0.0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(5)
        s.sendto(query().to_wire(), ("127.0.0.77", server.port))
        assert s.recvfrom(4096)[1] == ("127.0.0.77", server.port)


def test_ipv6(tmp_path, run):
    path = str(tmp_path / "z")
    write_zone(path)
    server = run(Signet, tmp_path, {"zones": [{"name": "example.test", "file": path}]}, listen="::1")
    assert address_of(server) == "192.0.2.80"
    assert server.ask("www.example.test", "A", tcp=True).rcode() == 0


def test_low_port_and_user(tmp_path, run):
    """Ports below 1024 are bound first, then the user is dropped to; who may not bind is told so."""
    path = str(tmp_path / "z")
    write_zone(path)
    if os.geteuid() != 0:
        server = run(Signet, tmp_path, {"zones": [{"name": "example.test", "file": path}]}, server={"user": "nobody"},
                     wait=False)
        assert server.child.wait(30) != 0 and "nobody" in server.text()
        return
    nobody = pwd.getpwnam("nobody").pw_uid
    os.chown(tmp_path, nobody, -1)
    for parent in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        os.chmod(parent, 0o755)
    server = run(Signet, tmp_path, {"zones": [{"name": "example.test", "file": path}]}, server={"user": "nobody"},
                 listen="127.0.0.9", port=953)
    assert address_of(server) == "192.0.2.80"
    with open(f"/proc/{server.child.pid}/status") as f:
        status = f.read()
    assert f"Uid:\t{nobody}\t{nobody}\t{nobody}" in status and "CapEff:\t0000000000000000" in status
    write_zone(path, 2, "192.0.2.99")
    os.chmod(path, 0o644)
    server.ctl("zone", "reload", "example.test")
    assert address_of(server) == "192.0.2.99"


def test_keys_in_files(tmp_path, run):
    """The file keystore: keys made in the state directory, mode 0600, and what they sign verifies."""
    path = str(tmp_path / "z")
    write_zone(path)
    conf = {"keystores": [{"name": "local", "type": "file"}],
            "policies": [{"name": "p", "signing": "eager", "ksk": {"keystore": "local"}, "zsk": {"keystore": "local"}}],
            "zones": [{"name": "example.test", "file": path, "policy": "p"}]}
    server = run(Signet, tmp_path, conf)
    dump = tmp_path / "dump"
    dump.write_text(server.ctl("zone", "dump", "example.test").stdout)
    for argv in (["dnssec-verify", "-o", "example.test", str(dump)], ["ldns-verify-zone", str(dump)]):
        done = subprocess.run([program(argv[0]), *argv[1:]], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    found = [os.path.join(d, f) for d, _, files in os.walk(tmp_path / "state") for f in files if f.endswith(".pem")]
    assert len(found) == 2 and all(os.stat(f).st_mode & 0o777 == 0o600 for f in found)
