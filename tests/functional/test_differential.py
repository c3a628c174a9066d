"""The same files served by NSD, Knot, BIND and signet, and the same questions asked of all four.

Where the peers agree signet must agree with them. Where they do not, signet must agree with one of them, or the
difference must be one of docs/differences.md: each has a word there, and REASONS names the same words."""

import os
import random
import re
from collections import Counter

import pytest

import zonedata
from conftest import LONG
from daemon import Signet
from differ import additional_fault, ask_all, ask_tcp, parse, questions_for, zone_records
from peers import Bind, Knot, Nsd
from reasons import REASONS, reason

DOCS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "differences.md")
QUESTIONS = 200000 if LONG else 24000
RANDOM = 80000 if LONG else 12000


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("differential"))
    paths = zonedata.make(folder)
    started = []
    try:
        for peer in (Nsd, Knot, Bind):
            started.append(peer(folder, paths))
        conf = {"zones": [{"name": name, "file": path} for name, path in paths.items()]}
        started.append(Signet(folder, conf))
        for server in started:
            server.wait_ready(paths)
        yield started, paths
    finally:
        for server in reversed(started):
            server.stop()


def test_reasons_are_documented():
    with open(DOCS) as f:
        documented = set(re.findall(r"^\| `([a-z0-9-]+)` \|", f.read(), flags=re.M))
    assert documented == set(REASONS), "docs/differences.md and reasons.py name the same differences"


def test_answers_agree(servers, seed):
    started, paths = servers
    rng = random.Random(seed)
    questions = questions_for(paths, rng, RANDOM)[:QUESTIONS]
    replies = []
    for server in started:
        wires = ask_all(server, questions)
        replies.append([parse(w) if w is not None else None for w in wires])
    zone = zone_records(paths)
    faults, excused = [], Counter()
    for i, question in enumerate(questions):
        peers = [r[i] for r in replies[:-1]]
        mine = replies[-1][i]
        if mine is None:
            faults.append(f"{question}: no answer")
            continue
        if not mine.tc and any(p is not None and p.tc for p in peers):
            # Ours fits where a peer's larger one does not: what the peer means it says over TCP.
            peers = [parse(ask_tcp(s, [question])[0]) if p is not None and p.tc else p
                     for s, p in zip(started, peers)]
        meanings = {p.meaning() for p in peers if p is not None}
        fault = None
        if mine.meaning() not in meanings:
            fault = "the peers agree" if len(meanings) == 1 else "no peer answers like this"
        else:
            fault = additional_fault(mine, [p for p in peers if p is not None], zone)
        if mine.question != peers[0].question:
            fault = "the question is not echoed as it came"
        if fault is None:
            continue
        why = reason(question, mine, peers)
        if why is not None:
            excused[why] += 1
        else:
            faults.append(f"{question}: {fault}\n  signet {mine}\n" +
                          "\n".join(f"  {s.name} {p}" for s, p in zip(started, peers)))
    print(f"{len(questions)} questions; differences with a reason: {dict(excused)}")
    assert not faults, f"{len(faults)} differences without a reason:\n" + "\n".join(faults[:12])
