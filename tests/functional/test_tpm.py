"""Keys in a TPM: a slow device with few places for keys, which counts wrong PINs in earnest."""

import json
import os
import signal
import subprocess

import dns.rdatatype
import pytest

from daemon import PIN, SIGNETCTL, Signet, policy
from procs import program, wait_for
from tpm import LOCKED_AT, Tpm

WRONG = "000000"
NAMES = 12

both = pytest.mark.parametrize("isolate", [True, False])


@pytest.fixture
def tpm(tmp_path, run):
    return run(Tpm, tmp_path / "tpm")


def write_zone(path, serial=1, names=NAMES):
    with open(path + ".new", "w") as f:
        f.write(f"$TTL 300\n@ SOA ns h {serial} 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\n")
        f.writelines(f"h{i:04} A 192.0.2.2\n" for i in range(names))
    os.rename(path + ".new", path)


def start(run, folder, tpm, isolate, zones=1, **kw):
    names = [f"z{i}.test" for i in range(zones)]
    for name in names:
        write_zone(str(folder / name))
    conf = {"keystores": [tpm.keystore(isolate)], "policies": [policy()],
            "zones": [{"name": name, "file": str(folder / name), "policy": "default"} for name in names]}
    server = run(Signet, folder, conf, env=tpm.env, **kw)
    server.zones = names
    return server


def edit(server, names, serial=1):
    """Another number of names; until the version is there."""
    write_zone(os.path.join(server.folder, server.zones[0]), serial, names)
    wait_for(lambda: server.ctl("zone", "reload", server.zones[0], check=False).returncode == 0, 60, "a reload")


def verify(server, zone=None):
    """The whole zone is signed, and validates."""
    zone = zone or server.zones[0]
    text = server.wait_complete(zone)
    path = os.path.join(server.folder, zone + ".dump")
    with open(path, "w") as f:
        f.write(text)
    done = subprocess.run([program("dnssec-verify"), "-z", "-o", zone, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return text


def rrsigs(text):
    return sorted(line for line in text.splitlines() if "RRSIG" in line.split()[:5])


def keystore(server):
    return server.ctl_json("status")["keystores"][0]


def wait_state(server, state):
    return wait_for(lambda: next((k for k in [keystore(server)] if k["state"] == state), None), 60, f"keystore {state}")


def check(server):
    return server.ctl("keystore", "check", "token", check=False)


def assert_served(server, names, zone=None):
    for i in range(names):
        reply = server.ask(f"h{i:04}.{zone or server.zones[0]}", "A", do=True, payload=4096)
        assert {rr.rdtype for rr in reply.answer} == {dns.rdatatype.A, dns.rdatatype.RRSIG}, reply


@both
def test_restarts(tmp_path, run, tpm, isolate):
    """More of them than wrong PINs that lock the TPM: they find their keys, sign nothing anew, and leave no trace."""
    server = start(run, tmp_path, tpm, isolate)
    text = verify(server)
    tags = {k["tag"] for k in server.ctl_json("key", "list", server.zones[0])["keys"]}
    for i in range(LOCKED_AT + 1):
        assert server.stop() == 0, server.text()
        if i % 2 == 0:
            tpm.shut_down()
            tpm.power_on()
        server.run()
        assert rrsigs(server.wait_complete(server.zones[0])) == rrsigs(text)
        # Each key signs once to show that it does.
        assert wait_state(server, "up")["signatures"] <= 2
        assert {k["tag"] for k in server.ctl_json("key", "list", server.zones[0])["keys"]} == tags
    edit(server, NAMES + 1)
    verify(server)
    assert tpm.wrong_pins() == 0


@both
def test_a_wrong_pin_is_tried_once(tmp_path, run, tpm, isolate):
    server = start(run, tmp_path, tpm, isolate)
    verify(server)
    assert server.stop() == 0, server.text()
    tpm.write_pin(WRONG)
    server.run()
    assert "refused" in wait_state(server, "PIN refused")["detail"]
    assert tpm.wrong_pins() == 1
    # Neither who asks nor the same PIN in another file spends one more.
    for _ in range(LOCKED_AT):
        tpm.write_pin(WRONG)
        assert check(server).returncode == 1
    assert_served(server, NAMES)
    assert tpm.wrong_pins() == 1
    tpm.write_pin(PIN)
    wait_state(server, "up")
    edit(server, NAMES + 1)
    verify(server)
    assert tpm.wrong_pins() == 1
    assert WRONG not in server.text() and PIN not in server.text()


@both
def test_a_locked_tpm(tmp_path, run, tpm, isolate):
    """The PIN is the right one, and is taken again once the TPM is not locked any more and the file was written."""
    server = start(run, tmp_path, tpm, isolate)
    verify(server)
    assert server.stop() == 0, server.text()
    for _ in range(LOCKED_AT):
        assert tpm.pkcs11_tool("--login", "--pin", WRONG, "--list-objects", check=False).returncode != 0
    assert tpm.wrong_pins() == LOCKED_AT
    server.run()
    assert "locked" in wait_state(server, "PIN refused")["detail"]
    assert_served(server, NAMES)
    done = check(server)
    assert done.returncode == 1 and "locked" in done.stderr, done.stderr
    tpm.forgive()
    tpm.write_pin(PIN)
    wait_state(server, "up")
    edit(server, NAMES + 1)
    verify(server)
    assert tpm.wrong_pins() == 0


@both
def test_a_power_cut(tmp_path, run, tpm, isolate):
    """While a zone is being signed. What is signed is served meanwhile, and the rest once the TPM is back."""
    server = start(run, tmp_path, tpm, isolate)
    verify(server)
    before = keystore(server)["signatures"]
    write_zone(os.path.join(server.folder, server.zones[0]), 1, NAMES + 60)
    with subprocess.Popen([SIGNETCTL, "-c", server.conf_path, "zone", "reload", server.zones[0]],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as reload:
        wait_for(lambda: keystore(server)["signatures"] > before + 5, what="signatures")
        tpm.cut()
        assert keystore(server)["signatures"] < before + 120
        wait_state(server, "down")
        assert_served(server, NAMES)
        tpm.power_on()
        wait_state(server, "up")
        # It may have been told that signing waits; it goes on without being asked again.
        reload.wait(60)
    wait_for(lambda: server.ask(f"h{NAMES + 59:04}.{server.zones[0]}", "A").answer, 60, "the edit")
    verify(server)
    assert_served(server, NAMES + 60)
    # By the TPM's own rule.
    assert tpm.wrong_pins() == 1
    assert server.stop() == 0, server.text()


def test_the_modules_process_is_killed(tmp_path, run, tpm):
    server = start(run, tmp_path, tpm, True)
    verify(server)
    for i in range(1, LOCKED_AT + 2):
        os.kill(keystore(server)["pid"], signal.SIGKILL)
        edit(server, NAMES + i)
        verify(server)
        assert wait_state(server, "up")["restarts"] == i
    assert tpm.wrong_pins() == 0


@both
def test_check_and_bench(tmp_path, run, tpm, isolate):
    server = start(run, tmp_path, tpm, isolate)
    verify(server)
    for serving in (True, False):
        done = check(server)
        assert done.returncode == 0, done.stderr
        assert [line.split()[:2] for line in done.stdout.splitlines()] == [
            ["ok", step] for step in ("module", "PIN", "token", "login", "key", "key")], done.stdout
        done = server.ctl("keystore", "bench", "token", "--seconds", "1", "--json")
        results = json.loads(done.stdout)["results"]
        assert [r["sessions"] for r in results] == ([1] if serving else [1, 2])
        assert all(r["signatures"] > 0 for r in results)
        if serving:
            assert server.stop() == 0, server.text()
    assert tpm.wrong_pins() == 0


@both
def test_keys_of_zones_at_once(tmp_path, run, tpm, isolate):
    """More keys than the TPM has places for, by two sessions."""
    server = start(run, tmp_path, tpm, isolate, zones=4)
    ids = set()
    for zone in server.zones:
        verify(server, zone)
        ids |= {k["id"] for k in server.ctl_json("key", "list", zone)["keys"]}
    assert len(ids) == 8
    listed = tpm.pkcs11_tool("--login", "--pin", PIN, "--list-objects", "--type", "privkey").stdout
    assert {line.split()[1].upper() for line in listed.splitlines() if line.strip().startswith("ID:")} == ids
    assert keystore(server)["verify_failures"] == 0
