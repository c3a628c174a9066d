"""Serials that only go forward: whatever was lost here, whatever the clock and the file say, over kill -9."""

import os
import random
import shutil
import signal
import time

import dns.rcode
import pytest

import secondaries
from daemon import Signet
from procs import free_port, wait_for
from test_secondaries import KINDS, Stage, write
from test_transfer import ZONE, Keys, transfer


def state_of(stage):
    return os.path.join(stage.folder, "state")


def test_a_lost_state_directory_starts_above_all_secondaries(run, tmp_path, seed):
    stage = Stage(run, tmp_path, seed)
    for _ in range(3):
        stage.change()
    stage.settle()
    last = stage.serial()
    assert last > 1
    assert stage.primary.stop() == 0
    shutil.rmtree(state_of(stage))
    stage.primary.run()
    stage.primary.wait_complete(ZONE)
    assert stage.serial() == last + 1
    assert f"has serial {last}: starts above it" in stage.primary.text()
    stage.settle()


def test_an_old_state_directory_is_passed_by_what_secondaries_have(run, tmp_path, seed):
    stage = Stage(run, tmp_path, seed)
    stage.settle()
    assert stage.primary.stop() == 0
    shutil.copytree(state_of(stage), state_of(stage) + ".old")
    stage.primary.run()
    for _ in range(3):
        stage.change()
    stage.settle()
    last = stage.serial()
    assert stage.primary.stop() == 0
    shutil.rmtree(state_of(stage))
    os.rename(state_of(stage) + ".old", state_of(stage))
    stage.primary.run()
    wait_for(lambda: stage.serial() > last, 60, "a serial beyond what secondaries have")
    stage.settle()


def alone(run, folder, rng, ports, **zone):
    """A primary of secondaries at 'ports' (none: of anybody who has the key), keys in files."""
    path = os.path.join(str(folder), "zone")
    write(path, {"a": 1}, 7)
    keys = Keys(folder, rng)
    key = keys.add("xfr.test.")
    conf = {"tsig-keys": keys.conf,
            "remotes": [{"name": f"ns{i}", "address": f"127.0.0.1@{port}" if port else "127.0.0.0/8",
                         "tsig-key": "xfr.test"} for i, port in enumerate(ports or [0])],
            "keystores": [{"name": "local", "type": "file"}],
            "policies": [{"name": "default", "csk": {"keystore": "local"}}],
            "zones": [{"name": ZONE, "file": path, "policy": "default", **zone,
                       "secondaries": [f"ns{i}" for i in range(len(ports or [0]))]}]}
    return run(Signet, folder, conf), key, path


def test_a_serial_by_hand_for_what_did_not_load(run, tmp_path, seed):
    """All signatures are on disk, and the keys are away: what has a new SOA cannot be signed, and is seen by nobody."""
    server, key, path = alone(run, tmp_path, random.Random(seed), [])
    server.wait_complete(ZONE)
    keys = os.path.join(str(tmp_path), "state", "keys")
    with open(path) as f:
        text = f.read()
    assert server.stop() == 0
    with open(path, "w") as f:
        f.write(text + "broken A 192.0.2.300\n")
    os.rename(keys, keys + ".away")
    server.run()
    wait_for(lambda: "not loaded" in server.text(), 20, "the fault")
    with open(path, "w") as f:
        f.write(text)
    assert server.ctl("zone", "reload", ZONE, "--serial", "1", check=False).returncode == 1
    assert server.ctl("zone", "reload", ZONE, "--serial", "1000", check=False).returncode == 1
    assert transfer(server, key)[1][-1].rcode() == dns.rcode.SERVFAIL
    os.rename(keys + ".away", keys)

    def signed():
        return [line for line in transfer(server, key)[0] if " RRSIG SOA " in line]
    assert len(wait_for(signed, 60, "a signed zone")) == 1
    assert server.ctl_json("zone", "show", ZONE)["serial"] == 1000


def assert_waits(server):
    shown = server.ctl_json("zone", "show", ZONE)
    assert shown["waits"] and not shown["loaded"]
    assert "waits for a secondary to say which serial it has" in shown["error"]
    assert shown["next_event_text"] == "secondaries are asked again"
    for command in (("status",), ("zone", "show", ZONE), ("zone", "list")):
        assert "waits for secondaries" in server.ctl(*command).stdout
    assert "no secondary says which serial it has" in server.text()
    assert server.ask(ZONE, "SOA").rcode() == dns.rcode.SERVFAIL
    refused = server.ctl("zone", "reload", ZONE, check=False)
    assert refused.returncode == 1 and "waits for a secondary" in refused.stderr


def test_where_no_secondary_answers_the_zone_waits_for_a_word(run, tmp_path, seed):
    server, _, path = alone(run, tmp_path, random.Random(seed), [free_port()])
    assert_waits(server)
    assert server.ctl("zone", "reload", "--serial", "5", check=False).returncode == 2
    assert server.ctl("zone", "reload", ZONE, "--serial", "4294967296", check=False).returncode == 2
    assert server.ctl("status", "--serial", "5", check=False).returncode == 2
    assert "serial 2000000000" in server.ctl("zone", "reload", ZONE, "--serial", "2000000000").stdout
    server.wait_complete(ZONE)
    assert server.ask(ZONE, "SOA").answer[0][0].serial == 2000000000
    assert not server.ctl_json("zone", "show", ZONE)["waits"]
    # It is on record: no secondary is waited for any more, and none of it goes back.
    server.restart()
    assert server.ask(ZONE, "SOA").answer[0][0].serial == 2000000000
    back = server.ctl("zone", "reload", ZONE, "--serial", "1999999999", check=False)
    assert back.returncode == 1 and "is not ahead of 2000000000" in back.stderr
    # The file's is as far behind as it was.
    write(path, {"a": 2}, 7)
    assert "serial 2000000001" in server.ctl("zone", "reload", ZONE).stdout


@pytest.mark.parametrize("kind", [secondaries.Knot, secondaries.Bind])
def test_a_secondary_that_comes_back_ends_the_wait(run, tmp_path, seed, kind):
    port = free_port()
    server, key, path = alone(run, tmp_path, random.Random(seed), [port])
    server.ctl("zone", "reload", ZONE, "--serial", "100")
    server.wait_complete(ZONE)
    secondary = run(kind, tmp_path / "secondary", [ZONE], server.port, key, port)
    wait_for(lambda: secondary.has(ZONE, 100), 60, "the zone at its secondary")
    secondary.stop()
    assert server.stop() == 0
    shutil.rmtree(tmp_path / "state")
    server.run()
    assert_waits(server)
    secondary = run(kind, tmp_path / "secondary", [ZONE], server.port, key, port)
    server.wait_complete(ZONE)
    # Had it been asked before it had loaded what it has, the zone would pass it as soon as it says so.
    wait_for(lambda: server.ask(ZONE, "SOA").answer[0][0].serial > 100, 90, "a serial above the secondary's")
    wait_for(lambda: secondary.has(ZONE, server.ask(ZONE, "SOA").answer[0][0].serial), 60,
             f"the new serial\n{secondary.text()}")


@pytest.mark.parametrize("kind", KINDS)
def test_who_does_not_have_the_zone_is_not_waited_for(run, tmp_path, seed, kind):
    """A new set-up comes up by itself: its secondaries answer that they have no such zone, or none yet."""
    port = free_port()
    server, key, _ = alone(run, tmp_path, random.Random(seed), [port])
    assert server.stop() == 0
    run(kind, tmp_path / "elsewhere", ["elsewhere.test"], free_port(), key, port)
    server.run()
    assert server.ctl_json("zone", "show", ZONE)["loaded"]
    assert server.ask(ZONE, "SOA").answer[0][0].serial == 7
    assert server.ctl_json("zone", "show", ZONE)["error"] is None


def test_one_of_two_that_answers_is_enough(run, tmp_path, seed):
    ports = [free_port(), free_port()]
    server, key, _ = alone(run, tmp_path, random.Random(seed), ports)
    server.ctl("zone", "reload", ZONE, "--serial", "50")
    knot = run(secondaries.Knot, tmp_path / "knot", [ZONE], server.port, key, ports[1])
    wait_for(lambda: knot.has(ZONE, 50), 60, "the zone at its secondary")
    assert server.stop() == 0
    shutil.rmtree(tmp_path / "state")
    server.run()
    server.wait_complete(ZONE)
    assert server.ask(ZONE, "SOA").answer[0][0].serial == 51
    assert "starts without knowing which serial ns0" in server.text()


@pytest.mark.parametrize("kind", ["increment", "unixtime", "date"])
def test_serials_go_forward_over_kill(run, tmp_path, seed, kind):
    """kill -9 at any moment after an edit: one serial stands for one content, and none is ever lower."""
    rng = random.Random(seed)
    signed, plain = str(tmp_path / "signed"), str(tmp_path / "plain")
    for path in (signed, plain):
        write(path, {"a": 0}, 7)
    conf = {"keystores": [{"name": "local", "type": "file"}],
            "policies": [{"name": "default", "csk": {"keystore": "local"}}],
            "zones": [{"name": "signed.test", "file": signed, "policy": "default", "serial": kind},
                      {"name": "plain.test", "file": plain, "serial": kind}]}
    server = run(Signet, tmp_path, conf)
    seen = {zone: {} for zone in ("signed.test", "plain.test")}
    last = {}

    def look():
        for zone, contents in seen.items():
            before = server.ask(zone, "SOA").answer[0][0].serial
            text = sorted(r.to_text() for r in server.ask(f"a.{zone}", "TXT").answer[0])
            after = server.ask(zone, "SOA").answer[0][0].serial
            assert after >= before >= last.get(zone, 0)
            last[zone] = after
            if before == after:
                assert contents.setdefault(before, text) == text

    for n in range(1, 16):
        look()
        for path in (signed, plain):
            # Its serial goes back now and then.
            write(path, {"a": n}, rng.randrange(1, 9))
        for zone in seen:
            server.ctl("zone", "reload", zone)
        look()
        write(rng.choice((signed, plain)), {"a": n + 100}, 8)
        os.kill(server.child.pid, signal.SIGHUP)
        time.sleep(rng.random() * 0.05)
        server.stop(signal.SIGKILL)
        server.run()
        look()
    today = time.strftime("%Y%m%d", time.gmtime())
    if kind == "date":
        assert all(str(serial)[:6] == today[:6] for serial in last.values())
    elif kind == "unixtime":
        assert all(abs(serial - time.time()) < 3600 for serial in last.values())
