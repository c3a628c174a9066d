"""The parts of bench/run on loading, signing, cold answers and latency, and their generator: that they work."""

import json
import os
import subprocess

import daemon
import pytest
from procs import Process, free_port
from test_bench import bench

ECHO = os.path.join(daemon.BUILD, "bench", "echo")
LATENCY = os.path.join(daemon.BUILD, "bench", "latency")
QUESTIONS = "a.test A\nb.test AAAA\nc.test SOA\n"


def ask(folder, port, *classes):
    """What the generator printed after half a second of questions; classes: 'name:rate' or 'name:rate:once'."""
    path = folder / "questions"
    path.write_text(QUESTIONS)
    argv = [os.path.abspath(LATENCY), "-D", "127.0.0.1", str(port), "0.5"]
    for text in classes:
        name, rate, *once = text.split(":")
        argv.append(":".join([name, rate, str(path), *once]))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["phases"]


@pytest.fixture
def echo(tmp_path):
    port = free_port()
    process = Process([os.path.abspath(ECHO), str(port), "100", "block", "127.0.0.1"], str(tmp_path), "echo")
    process.port = port
    yield process
    process.stop()


def test_the_generator_counts_each_class(tmp_path, echo):
    for _ in range(50):     # until the echo is there
        if ask(tmp_path, echo.port, "probe:100:once")[0]["classes"]["probe"]["answered"] == 3:
            break
    phases = ask(tmp_path, echo.port, "warm:200", "cold:100:once")
    assert len(phases) == 1
    warm, cold = phases[0]["classes"]["warm"], phases[0]["classes"]["cold"]
    assert warm["sent"] == warm["answered"] and 4 <= warm["sent"] <= 101 and warm["rcodes"] == {"0": warm["sent"]}
    assert cold["sent"] == cold["answered"] == 3     # the file once
    assert 0 < warm["us"]["p50"] <= warm["us"]["p99"] <= warm["us"]["p99.9"] <= warm["us"]["max"]


def test_the_generator_counts_what_is_lost(tmp_path):
    warm = ask(tmp_path, free_port(), "warm:100")[0]["classes"]["warm"]
    assert warm["sent"] > 0 and warm["answered"] == 0 and warm["lost"] == warm["sent"]


@pytest.mark.parametrize("arguments", ["127.0.0.1 53", "nowhere 53 1 a:1:f", "127.0.0.1 53 0 a:1:f",
                                       "127.0.0.1 53 1 a:0:f", "127.0.0.1 53 1 a:1:nofile",
                                       "127.0.0.1 53 1 a:1:f:twice"])
def test_the_generator_refuses(tmp_path, arguments):
    (tmp_path / "f").write_text(QUESTIONS)
    done = subprocess.run([os.path.abspath(LATENCY), *arguments.split()], capture_output=True, cwd=tmp_path, timeout=60)
    assert done.returncode == 2 and b"usage" in done.stderr and done.stdout == b""


def test_loading(tmp_path):
    result, out = bench(tmp_path, "--only", "load")
    load = result["load"]
    assert set(load["starts"]) == {"nsd", "knot", "signet"}
    assert all(row["wall_s"] > 0 and row["memory_mb"] > 0 for row in load["starts"].values())
    for edit in ("one added", "1 % changed"):
        assert load["reloads"][edit]["wall_s"] > 0
        assert set(load["reloads"][edit]["half load"]["phases"]) == {"quiet", "reload", "after"}
    assert load["many"]["zones"] == 100 and set(load["many"]["servers"]) == {"nsd", "knot", "signet"}
    assert (out / "load.svg").exists() and (out / "memory.svg").exists()


def test_transfers(tmp_path):
    result, out = bench(tmp_path, "--only", "transfer")
    got = result["transfer"]
    assert set(got["ways"]) == {"nsd", "knot", "signet", "signet, TLS"}
    assert len({row["records"] for row in got["ways"].values()}) == 1
    assert all(row["wall_s"] > 0 and row["cpu_s"] > 0 for row in got["ways"].values())
    assert set(got["beside"]["servers"]["signet"]) == {"quiet", "transfers"}
    assert (out / "transfer.svg").exists()


def test_signing(tmp_path):
    result, out = bench(tmp_path, "--only", "sign")
    counts = {name: row["signatures"] for name, row in result["sign"]["signers"].items()}
    assert set(counts) == {"kzonesign", "dnssec-signzone", "ldns-signzone", "signet", "signet, not signing"}
    # 200 hosts: an A and an NSEC each, 100 with an AAAA, 20 cuts with an NSEC, and a few at the apex: CDS as well.
    assert all(520 <= count <= 535 for name, count in counts.items() if name != "signet, not signing"), counts
    assert (out / "sign.svg").exists()


def test_cold_answers_and_latency(tmp_path):
    result, out = bench(tmp_path, "--only", "cold,latency")
    kinds = result["cold"]["kinds"]
    assert set(kinds) == {"hit", "nxdomain"}
    assert all(kind["ns"][server] > 0 and kind["lost"] == 0 for kind in kinds.values() for server in kind["ns"])
    assert all(phase["answered"] > 0 for phase in result["cold"]["tail"]["phases"].values())
    assert set(result["latency"]["servers"]) == {"nsd", "knot", "signet"}
    assert (out / "cold.svg").exists() and (out / "latency.svg").exists()
