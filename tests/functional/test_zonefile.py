"""Zone files as we read them and as BIND reads them: the same records, or the same refusal."""

import os
import subprocess

import pytest

from daemon import BUILD
from procs import program

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "..", "fuzz", "corpus", "zonefile")

# Of the corpus, what both take: BIND 9.18 has one word of RDATA in $GENERATE and no "ohttp", and settles
# differing TTLs by runs of lines, not by RRset.
SAME = ["minimal", "soa-parens", "crlf", "escapes", "origin", "mail", "caa-tlsa", "dnssec", "rare", "case",
        "unsorted", "parens", "no-ttl"]


def zonedump(path):
    done = subprocess.run([os.path.join(BUILD, "tests", "tools", "zonedump"), "example.com", path],
                          capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def bind_reads(path, out):
    """What BIND makes of the file, as a file with one record on a line and absolute names."""
    return subprocess.run([program("named-compilezone"), "-k", "ignore", "-i", "none", "-s", "full", "-F", "text",
                           "-o", out, "example.com", path], capture_output=True, timeout=60, check=False).returncode


@pytest.mark.parametrize("name", SAME)
def test_same_records_as_bind(name, tmp_path):
    path = os.path.join(CORPUS, name + ".zone")
    out = str(tmp_path / "bind.zone")
    assert bind_reads(path, out) == 0
    ours = zonedump(path)
    theirs = zonedump(out)
    assert ours[0] == 0, ours[2]
    assert theirs[0] == 0, theirs[2]
    assert ours[1] == theirs[1]


@pytest.mark.parametrize("lines", [
    "x A 192.0.2.1\nx CNAME y",
    "x CNAME y\nx CNAME z",
    "x DNAME y\nx DNAME z",
    "@ SOA a. a. 2 2 3 4 5",
    "x SOA a. a. 1 2 3 4 5",
    "@ DS 1 13 77 00",
    "x A 192.0.2.256",
    "x AAAA 1::2::3",
    'x TXT "a\nb"',
    "x MX mail 10",
    "x CH A 192.0.2.1",
    "x HTTPS 1 . port=1 port=2",
    "x HTTPS 1 . mandatory=alpn",
    "x DS 1 13 2 00",
    "x TYPE65280 \\# 2 00",
    "x A ( 192.0.2.1",
    "x A 192.0.2.1 )",
])
def test_refused_as_by_bind(lines, tmp_path):
    top = "$TTL 300\n@ SOA ns hm 1 2 3 4 5\n@ NS ns\nns A 192.0.2.1\n"
    path = tmp_path / "zone"
    path.write_text(top + lines + "\n")
    assert bind_reads(str(path), str(tmp_path / "out")) != 0
    code, _, err = zonedump(str(path))
    assert code == 1
    assert f"{path}:" in err and ": error: " in err
    path.write_text(top)
    assert zonedump(str(path))[0] == 0
