"""NSD, Knot and BIND as secondaries of signet, all at once: each change reaches all of them, told by NOTIFY, whole."""

import os
import random
import signal
import subprocess
import time

import dns.rdatatype
import pytest

import secondaries
from conftest import LONG
from daemon import Signet, Token, policy
from procs import free_port, program, wait_for
from test_transfer import ZONE, Keys, dumped

KINDS = (secondaries.Nsd, secondaries.Knot, secondaries.Bind)
TOLD_S = 60
# Of random changes, for each kind of denial.
ROUNDS = 500 if LONG else 20


def write(path, names, serial=1):
    with open(path + ".new", "w") as f:
        # Nobody comes by himself in the time of a test.
        f.write(f"$TTL 300\n@ SOA ns h {serial} 86400 86400 864000 60\n@ NS ns\n@ NS ns2\nns A 192.0.2.1\nns2 A 192.0.2.2\n")
        f.writelines(f"{name} A 192.0.2.{n % 250}\n TXT \"{n}\"\n" for name, n in sorted(names.items()))
    os.rename(path + ".new", path)


class Stage:
    def __init__(self, run, folder, seed, **kw):
        self.run = run
        self.folder = str(folder)
        self.rng = random.Random(seed)
        self.path = os.path.join(self.folder, "zone")
        self.names = {f"h{i}": i for i in range(100)}
        write(self.path, self.names)
        keys = Keys(folder, self.rng)
        self.key = keys.add("xfr.test.")
        self.ports = {kind: free_port() for kind in KINDS}
        self.token = Token(os.path.join(self.folder, "token"))
        conf = {"tsig-keys": keys.conf,
                "remotes": [{"name": kind.__name__, "address": f"127.0.0.1@{port}", "tsig-key": "xfr.test"}
                            for kind, port in self.ports.items()],
                "keystores": [self.token.keystore()], "policies": [policy(**kw)],
                "zones": [{"name": ZONE, "file": self.path, "policy": "default",
                           "secondaries": [kind.__name__ for kind in KINDS]}]}
        self.primary = run(Signet, folder, conf, env=self.token.env)
        self.secondaries = {kind: self.secondary(kind) for kind in KINDS}
        # Nothing is on record: it waits for them to say that they have no such zone.
        self.primary.wait_complete(ZONE)

    def secondary(self, kind):
        return self.run(kind, os.path.join(self.folder, kind.__name__), [ZONE], self.primary.port, self.key,
                        self.ports[kind])

    def serial(self):
        return self.primary.ask(ZONE, "SOA").answer[0][0].serial

    def journal(self):
        return self.primary.ctl_json("zone", "show", ZONE)["journal"]

    def verify(self):
        dump = os.path.join(self.folder, "dump")
        with open(dump, "w") as f:
            f.write(self.primary.ctl("zone", "dump", ZONE).stdout)
        done = subprocess.run([program("ldns-verify-zone"), dump], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def change(self):
        """Some names less, some more, some others."""
        for name in self.rng.sample(sorted(self.names), 5):
            del self.names[name]
        for _ in range(7):
            self.names[f"x{self.rng.randrange(10**6)}"] = self.rng.randrange(1000)
        for name in self.rng.sample(sorted(self.names), 5):
            self.names[name] += 1
        write(self.path, self.names)
        self.primary.ctl("zone", "reload", ZONE)

    def settle(self, kinds=KINDS):
        """Until all have what is served here; the records."""
        serial = self.serial()
        for kind in kinds:
            wait_for(lambda kind=kind: self.secondaries[kind].has(ZONE, serial), TOLD_S,
                     f"serial {serial} at {kind.__name__}\n{self.secondaries[kind].text()[-3000:]}\n"
                     f"{self.primary.text()[-3000:]}")
        want = sorted(dumped(self.primary))
        for kind in kinds:
            assert self.secondaries[kind].records(ZONE) == want, kind
        return want


@pytest.mark.parametrize("denial", ["nsec", "nsec3"])
def test_every_change_reaches_all(run, tmp_path, seed, denial):
    stage = Stage(run, tmp_path, seed, denial=denial, **{"signature-refresh": "7d"})
    stage.settle()
    last = stage.serial()
    assert "would serve signatures that have ended: signature-refresh is 604800s, SOA expire 864000s" in \
        stage.primary.text()
    told = stage.primary.ctl_json("zone", "show", ZONE)["secondaries"]
    assert {t["name"] for t in told} == {kind.__name__ for kind in KINDS}
    wait_for(lambda: all(t["acknowledged"] == last and not t["pending"]
                         for t in stage.primary.ctl_json("zone", "show", ZONE)["secondaries"]), what="acknowledgements")
    assert f"acknowledged serial {last}" in stage.primary.ctl("zone", "show", ZONE).stdout
    first = stage.journal()
    assert first["axfr"] >= len(KINDS) and first["ixfr"] == 0
    for _ in range(ROUNDS):
        stage.change()
        assert stage.serial() > last
        last = stage.serial()
        stage.settle()
        stage.verify()
    assert stage.primary.ctl_json("status")["workers"]["transfers"] >= (ROUNDS + 1) * len(KINDS)
    # Mostly: what a server asks for is its own business.
    j = stage.journal()
    assert j["ixfr"] >= ROUNDS * len(KINDS) * 9 // 10
    assert j["axfr"] - first["axfr"] <= ROUNDS * len(KINDS) // 10


def test_a_secondary_that_was_away_is_told_again(run, tmp_path, seed):
    stage = Stage(run, tmp_path, seed)
    stage.settle()
    for kind in KINDS:
        stage.secondaries[kind].stop()
    before = stage.journal()["ixfr"]
    for _ in range(3):
        stage.change()
    for kind in KINDS:
        stage.secondaries[kind] = stage.secondary(kind)
    stage.settle()
    # Those who keep on their disks what they have.
    wait_for(lambda: stage.journal()["ixfr"] > before, what="an IXFR")


def test_one_serial_one_content_over_kill(run, tmp_path, seed):
    stage = Stage(run, tmp_path, seed)
    contents = {stage.serial(): stage.settle()}
    # From here on what is lost of them with the process is in the journal.
    wait_for(lambda: stage.primary.ctl_json("zone", "show", ZONE)["saved"], what="signatures on disk")
    for _ in range(50 if LONG else 4):
        stage.change()
        # At once: what was signed may not be on disk yet.
        stage.primary.stop(signal.SIGKILL)
        # It may have been refused a connection, and then asks nobody for ten minutes, told or not.
        stage.secondaries[secondaries.Bind].stop()
        stage.primary.run()
        stage.secondaries[secondaries.Bind] = stage.secondary(secondaries.Bind)
        want = stage.settle()
        serial = stage.serial()
        assert serial >= max(contents)
        assert contents.setdefault(serial, want) == want
        # The history goes on, for all that have the version before.
        stage.change()
        contents[stage.serial()] = stage.settle()
        wait_for(lambda: stage.journal()["ixfr"] >= len(KINDS), what="IXFR to all")
        assert stage.journal()["axfr"] == 0


def test_what_is_signed_anew_at_a_start_has_a_new_serial(run, tmp_path):
    """Signatures that ended while the server was down: who has the serial would not ask for others."""
    path = str(tmp_path / "zone")
    write(path, {"a": 1})
    conf = {"remotes": [{"name": "away", "address": "127.0.0.0/8"}],
            "keystores": [{"name": "local", "type": "file"}],
            "policies": [{"name": "short", "csk": {"keystore": "local"}, "signature-validity": "6s", "signature-refresh": "3s"}],
            "zones": [{"name": ZONE, "file": path, "policy": "short", "secondaries": ["away"]}]}
    server = run(Signet, tmp_path, conf)
    server.wait_complete(ZONE)
    assert server.stop() == 0
    server.run()
    before = server.ask(ZONE, "SOA", do=True).answer
    end = max(rr.expiration for rrset in before for rr in rrset if rr.rdtype == dns.rdatatype.RRSIG)
    assert server.stop() == 0
    wait_for(lambda: time.time() > end + 1, what="the end of the signatures")
    server.run()
    after = server.ask(ZONE, "SOA", do=True).answer
    assert after[0][0].serial > before[0][0].serial
