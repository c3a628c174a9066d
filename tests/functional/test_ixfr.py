"""Incremental transfers: dnspython, which applies them to what it has, ends with what is served. (It does not take a whole
zone of several messages for an answer to IXFR: where that comes the zone is small.)"""

import os
import random
import signal
import threading
import time

import dns.message
import dns.query
import dns.rdatatype
import dns.versioned
import dns.xfr
import dns.zone
import pytest

from daemon import Signet
from procs import wait_for
from test_secondaries import write
from test_transfer import ZONE, Keys, dumped

EDITS = 14


class Client:
    """A secondary of dnspython's, with the zone as it got it."""

    def __init__(self, server, key):
        self.server = server
        self.key = key
        self.zone = dns.versioned.Zone(ZONE + ".", relativize=False)

    def serial(self):
        with self.zone.reader() as r:
            soa = r.get(ZONE + ".", "SOA")
        return soa[0].serial

    def transfer(self, whole=False, udp=dns.query.UDPMode.NEVER):
        if whole:
            query = dns.message.make_query(ZONE, "AXFR")
            query.use_tsig(self.key)
        else:
            query, _ = dns.xfr.make_query(self.zone, serial=0, keyring=self.key)
            assert query.question[0].rdtype == dns.rdatatype.IXFR
        dns.query.inbound_xfr(self.server.address, self.zone, query, port=self.server.port, timeout=60, lifetime=60,
                              udp_mode=udp)

    def records(self):
        lines = []
        with self.zone.reader() as r:
            for name, rds in r:
                lines += [f"{name} {rds.ttl} {dns.rdatatype.to_text(rds.rdtype)} {rd.to_text()}" for rd in rds]
        return sorted(lines)


class Stage:
    def __init__(self, run, folder, seed, policy=None, names=120, **zone):
        self.rng = random.Random(seed)
        self.folder = str(folder)
        self.path = os.path.join(self.folder, "zone")
        self.names = {f"h{i}": i for i in range(names)}
        self.file_serial = 1
        write(self.path, self.names)
        keys = Keys(folder, self.rng)
        self.key = keys.add("xfr.test.")
        self.conf = {"tsig-keys": keys.conf,
                     "remotes": [{"name": "ns2", "address": "127.0.0.0/8", "tsig-key": "xfr.test"}],
                     "keystores": [{"name": "local", "type": "file"}],
                     "policies": [{"name": "p", "csk": {"keystore": "local"}, **(policy or {})}],
                     "zones": [{"name": ZONE, "file": self.path, "policy": "p", "secondaries": ["ns2"], **zone}]}
        if policy is None:
            del self.conf["zones"][0]["policy"]
        self.server = run(Signet, folder, self.conf)
        self.run = run
        self.clients = []

    def client(self):
        c = Client(self.server, self.key)
        c.transfer(whole=True)
        self.clients.append(c)
        return c

    def edit(self, count=5):
        for name in self.rng.sample(sorted(self.names), count):
            del self.names[name]
        for _ in range(count):
            self.names[f"x{self.rng.randrange(10**6)}"] = self.rng.randrange(1000)
        for name in self.rng.sample(sorted(self.names), count):
            self.names[name] += 1
        self.file_serial += 1
        write(self.path, self.names, self.file_serial)

    def change(self, count=5):
        self.edit(count)
        self.server.ctl("zone", "reload", ZONE)

    def serial(self):
        return self.server.ask(ZONE, "SOA").answer[0][0].serial

    def journal(self):
        return self.server.ctl_json("zone", "show", ZONE)["journal"]

    def check(self, clients=None, kind="ixfr", **kw):
        """All clients come by; each way is counted."""
        clients = clients or self.clients
        want = sorted(dumped(self.server))
        before = self.journal()
        for c in clients:
            c.transfer(**kw)
            assert c.records() == want
            assert c.serial() == self.serial()
        # Counted when the last octets are with the kernel.
        wait_for(lambda: self.journal()[kind] - before[kind] == len(clients), 20, f"{len(clients)} by {kind}")
        return want


@pytest.mark.parametrize("policy", [None, {"denial": "nsec"}, {"denial": "nsec3"}], ids=["as it is", "nsec", "nsec3"])
def test_from_any_version_to_the_last(run, tmp_path, seed, policy):
    stage = Stage(run, tmp_path, seed, policy, names=1000)
    stage.client()
    for i in range(EDITS):
        stage.change()
        if i % 3 == 0:
            stage.client()
    stage.change()
    # From near and from far, one after the other and joined.
    stage.check()
    j = stage.journal()
    assert j["versions"] == EDITS + 1 and j["bytes"] > 1000
    show = stage.server.ctl("zone", "show", ZONE).stdout
    assert f"{EDITS + 1} versions from serial {j['oldest_serial']} on" in show
    assert f"{j['ixfr']} IXFR, {j['axfr']} AXFR" in show
    assert f"transferred from serial {j['oldest_serial']} to " in stage.server.text()
    # What is small goes over UDP, what is not is asked for again over TCP.
    stage.change(1)
    stage.check(stage.clients[:1], udp=dns.query.UDPMode.TRY_FIRST)
    stage.change(60)
    stage.check(stage.clients[:1], udp=dns.query.UDPMode.TRY_FIRST)


def test_small_ones_over_udp(run, tmp_path, seed):
    stage = Stage(run, tmp_path, seed, names=1000)
    c = stage.client()
    stage.change(1)
    stage.check([c], udp=dns.query.UDPMode.ONLY)
    # One SOA of a later serial: the client is to come by TCP.
    stage.change(100)
    with pytest.raises(dns.exception.DNSException):
        c.transfer(udp=dns.query.UDPMode.ONLY)
    stage.check([c])


def test_history_goes_on_over_restarts(run, tmp_path, seed):
    stage = Stage(run, tmp_path, seed, {"denial": "nsec"})
    stage.client()
    for _ in range(3):
        stage.change()
        stage.client()
    serial = stage.serial()
    before = sorted(dumped(stage.server))
    assert stage.server.stop() == 0
    stage.server.run()
    assert stage.serial() == serial
    assert sorted(dumped(stage.server)) == before
    stage.check(stage.clients[:-1])
    stage.change()
    stage.check()
    # The file changed while nobody looked: nobody knows what it was before.
    stage.edit()
    assert stage.server.stop() == 0
    stage.server.run()
    assert stage.serial() > serial
    assert "it has changed while it was not served" in stage.server.text()
    stage.check(kind="axfr")
    stage.change()
    stage.check()


def test_one_serial_one_content_over_kill(run, tmp_path, seed):
    """Killed right after a version was seen: its signatures are in the journal, if nowhere else."""
    stage = Stage(run, tmp_path, seed, {"denial": "nsec"})
    stage.client()
    # Once, the signatures of some version have to be on disk.
    wait_for(lambda: stage.server.ctl_json("zone", "show", ZONE)["saved"], what="signatures on disk")
    contents = {}
    for _ in range(6):
        for _ in range(stage.rng.randrange(1, 4)):
            stage.change()
        serial = stage.serial()
        contents[serial] = sorted(dumped(stage.server))
        stage.server.stop(signal.SIGKILL)
        stage.server.run()
        assert stage.serial() == serial
        assert sorted(dumped(stage.server)) == contents[serial]
        stage.check()
    # At any moment of an edit: what is then served has a serial of its own, or that content.
    for _ in range(8):
        stage.edit()
        t = threading.Thread(target=lambda: stage.server.ctl("zone", "reload", ZONE, check=False))
        t.start()
        time.sleep(stage.rng.random() * 0.2)  # any moment
        stage.server.stop(signal.SIGKILL)
        t.join()
        stage.server.run()
        serial = stage.serial()
        content = sorted(dumped(stage.server))
        assert serial >= max(contents)
        assert contents.setdefault(serial, content) == content
        for c in stage.clients:
            c.transfer()
            assert c.records() == content
            assert c.serial() == serial


def test_the_journal_is_bounded(run, tmp_path, seed):
    stage = Stage(run, tmp_path, seed, {"denial": "nsec"}, **{"journal-size": "64K"})
    old = stage.client()
    for _ in range(20):
        stage.change()
        assert stage.journal()["bytes"] <= 65536
    assert 0 < stage.journal()["versions"] < 20
    stage.check([old], kind="axfr")
    stage.change()
    stage.check([old])


def test_journals_of_those_without_secondaries_are_removed(run, tmp_path, seed):
    stage = Stage(run, tmp_path, seed, {"denial": "nsec"})
    stage.client()
    stage.change()
    assert stage.server.stop() == 0
    zone = stage.conf["zones"][0]
    secondaries = zone.pop("secondaries")
    server = run(Signet, tmp_path, stage.conf)
    assert "journals removed of 1 zones" in server.text()
    assert server.ctl_json("zone", "show", ZONE)["journal"] is None
    assert server.stop() == 0
    zone["secondaries"] = secondaries
    stage.server = run(Signet, tmp_path, stage.conf)
    for c in stage.clients:
        c.server = stage.server
    assert stage.journal()["versions"] == 0
    stage.change()
    stage.check(kind="axfr")


def test_a_damaged_journal_is_set_aside(run, tmp_path, seed):
    stage = Stage(run, tmp_path, seed, {"denial": "nsec"})
    stage.client()
    stage.change()
    assert stage.server.stop() == 0
    path = tmp_path / "state" / "journals.lmdb"
    path.write_bytes(b"no journal" * 5000)
    stage.server.run()
    assert "the journal is damaged; it is kept as" in stage.server.text()
    assert (tmp_path / "state" / "journals.lmdb.damaged").exists()
    stage.check(kind="axfr")
    stage.change()
    stage.check()
