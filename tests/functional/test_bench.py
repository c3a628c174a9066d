"""bench/run from end to end, as small as it gets: that it works, not what it measures."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree

import daemon
import pytest
from procs import Process, wait_for

RUN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "bench", "run")
SMALL = ["--quick", "--names", "200", "--rounds", "1", "--seconds", "0.1"]


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(child) for child in f.read().split()]


def bench(folder, *options):
    """The result of a run, and its folder."""
    out = folder / "out"
    done = subprocess.run([sys.executable, RUN, *SMALL, *options, "--out", str(out)],
                          capture_output=True, text=True, timeout=300,
                          env={**os.environ, "SIGNET_BUILD": os.path.abspath(daemon.BUILD)})
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads((out / "result.json").read_text()), out


def test_udp_beside_the_peers(tmp_path):
    result, out = bench(tmp_path, "--only", "udp", "--mixes", "hit,nxdomain")
    rows = {(r["zone"], r["mix"], r["server"]): r for r in result["udp"]["rows"]}
    assert {key[2] for key in rows} == {"nsd", "knot", "signet", "signet-online", "echo", "echo-poll"}
    for row in rows.values():
        assert row["answered"] > 0 and row["ns"]["median"] > 0
        assert set(row["of"]) >= {"nsd", "echo"} - {row["server"]}
    assert rows["signed", "nxdomain", "signet"]["batch"]["median"] >= 1
    assert rows["signed", "nxdomain", "signet"]["size"] == rows["signed", "nxdomain", "echo"]["size"]
    assert all(check["answers"]["questions"] == 600 for check in result["udp"]["checks"])
    assert len(result["targets"]) == 2 * (2 + 4)
    assert "of nsd's above" in (out / "result.md").read_text()
    plots = sorted(out.glob("*.svg"))
    assert [p.name for p in plots] == ["udp-signed-200.svg", "udp-unsigned-200.svg"]
    for plot in plots:
        assert ElementTree.parse(plot).getroot().tag.endswith("svg")


def test_tcp_scale_and_syscalls(tmp_path):
    result, _ = bench(tmp_path, "--only", "tcp,scale,syscalls")
    assert {r["way"] for r in result["tcp"]["rows"]} == {"kept", "one question each"}
    assert {r["axis"] for r in result["scale"]["rows"]} == {"names", "zones", "workers", "workers of the echo"}
    calls = {(r["server"], r["way"]): r["calls"] for r in result["syscalls"]["rows"]}
    assert calls["nsd", "UDP"]["sendto"] > 0 and calls["signet", "UDP"]["sendmmsg"] > 0


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_stopped_it_ends_what_it_started(tmp_path, sig):
    # A short path: sockets are made below it.
    with tempfile.TemporaryDirectory() as work:
        run = Process([sys.executable, RUN, *SMALL, "--seconds", "30", "--only", "udp", "--out", str(tmp_path / "out"),
                       "--work", work], str(tmp_path), "bench", {"SIGNET_BUILD": os.path.abspath(daemon.BUILD)})
        started = wait_for(lambda: "starting signet" in run.text() and children(run.child.pid), 60, "servers of the bench")
        assert run.stop(sig) == 128 + sig
        assert started and "failed" not in run.text()
        # What a server had forked is the system's to bury.
        wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in started), 30, "the end of all servers")
        assert not os.listdir(work)
