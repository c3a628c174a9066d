#!/usr/bin/python3
"""A guard of speed that does not depend on the machine: instructions, counted by callgrind.

run.py BUILD                   counts BUILD/tests/instructions/count and compares with counts.json; exit status 1
                               where a cell grew by more than 10 %, is new, or is gone
run.py BUILD --update REASON   takes the new numbers, and REASON with each that changed, into counts.json
run.py --self-test             shows that the comparison and the reading of callgrind's file find what they should

A cell is one fixed piece of work (count.c). Two numbers are kept of it, by answer, record or RRset: the
instructions executed in our own code, and the calls that it makes into libraries.

Why not all instructions: libc and libcrypto choose their memcpy() and SHA-256 by the CPU they find, so their share
differs between machines, and tunables that forbid it have other names in each release of glibc. Our own code is
compiled for x86-64 as such and asks no CPU what it is; its instructions are the same on every machine, whatever
else runs there. What moves into a library still shows, as a call.

The counts are those of one compiler (counts.json says which: gcc 12 on x86_64, as ./check uses). A build by another
compiler on the same architecture is compared with a margin of 50 % instead of 10 %, and says so; another
architecture has no counts to be compared with, and fails.
"""

import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import unittest

COUNTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "counts.json")
MARGIN, MARGIN_OTHER = 0.10, 0.50
NUMBERS = ("instructions", "calls")


def parse(lines, program):
    """Callgrind's dumps, one after the other: "CELL / UNITS" -> cell -> numbers by unit.

    Cost lines belong to the last ob=; the line after a calls= is what the callee cost, which is not the caller's.
    Names of objects are given once, then by their number."""
    cells, names, cell, here, called, skip = {}, {}, None, None, None, False

    def name(text):
        number, _, rest = text.partition(" ")
        if rest:
            names[number] = os.path.basename(rest)
        return names[number]

    for line in lines:
        line = line.rstrip("\n")
        if line.startswith("desc: Trigger: Client Request: "):
            title, _, units = line[len("desc: Trigger: Client Request: "):].rpartition(" / ")
            cell = cells.setdefault(title, {"units": int(units), "instructions": 0, "calls": 0})
            here = called = None
        elif line.startswith("part:"):
            cell = None
        elif line.startswith("ob="):
            here = called = name(line[3:])
        elif line.startswith("cob="):
            called = name(line[4:])
        elif line.startswith("calls="):
            if cell is not None and here == program and called != program:
                cell["calls"] += int(line[6:].split()[0])
            called, skip = here, True
        elif re.match(r"[+*\-\d]", line):
            if cell is not None and here == program and not skip:
                cell["instructions"] += int(line.split()[1])
            skip = False
    return {title: {"instructions": round(c["instructions"] / c["units"]), "calls": round(c["calls"] / c["units"], 2)}
            for title, c in cells.items()}


def compiler_of(version):
    """__VERSION__ of gcc is "12.2.0", of clang "Debian Clang 14.0.6"."""
    found = re.match(r"(\D*)(\d+)", version)
    return f"{'clang' if 'lang' in found[1] else 'gcc'} {found[2]}"


def one_cpu():
    """What shares its work among the CPUs that it may use does as on a machine with one."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def count(build):
    """(where the counts hold, cell -> numbers)"""
    program = os.path.abspath(os.path.join(build, "tests", "instructions", "count"))
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "callgrind.out")
        argv = ["valgrind", "--tool=callgrind", "--collect-atstart=no", "--dump-line=no", "--combine-dumps=yes",
                f"--callgrind-out-file={out}", program]
        run = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False,
                             env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, preexec_fn=one_cpu)
        if run.returncode != 0:
            raise SystemExit(f"{program} under valgrind: exit status {run.returncode}\n{run.stdout}{run.stderr}")
        with open(out, encoding="utf-8") as f:
            cells = parse(f, "count")
    first, *titles = run.stdout.splitlines()
    if sorted(cells) != sorted(t.rpartition(" / ")[0] for t in titles):
        raise SystemExit(f"callgrind dumped {sorted(cells)}, and not what was asked for:\n{run.stdout}")
    return f"{compiler_of(first.partition(' ')[2])} on {platform.machine()}", cells


def slack(number, before, margin):
    """One call more may be a copy that is no longer inlined; an allocation is two, with what frees it."""
    return max(before * margin, 1 if number == "calls" else 0)


def grew(number, before, now, margin):
    return now > before + slack(number, before, margin)


def fell(number, before, now, margin):
    return now < before - slack(number, before, margin)


def compare(kept, found, margin):
    """(faults, advice)"""
    faults, advice = [], []
    for cell in sorted(set(kept) | set(found)):
        if cell not in found:
            faults.append(f"{cell}: in counts.json, and no longer counted")
            continue
        if cell not in kept:
            faults.append(f"{cell}: counted, and not in counts.json")
            continue
        for number in NUMBERS:
            before, now = kept[cell][number], found[cell][number]
            text = f"{cell}: {number} were {before}, are {now}"
            if grew(number, before, now, margin):
                faults.append(f"{text} ({percent(before, now)}, allowed {slack(number, before, margin):+.1f})")
            elif fell(number, before, now, margin):
                advice.append(f"{text} ({percent(before, now)})")
    return faults, advice


def percent(before, now):
    return f"{(now - before) / before:+.1%}" if before else "from nothing"


def margin_for(kept_where, where):
    """None: there is nothing to compare with."""
    if kept_where == where:
        return MARGIN
    return MARGIN_OTHER if kept_where.split(" on ")[1] == where.split(" on ")[1] else None


def updated(kept, found, reason):
    """What counts.json holds from now on. A number that grew a little stays as it was: the margin is counted from
    where it was last accepted, so that small steps do not add up unseen. One that fell is taken."""
    out = {}
    for cell, now in sorted(found.items()):
        old = kept.get(cell)
        if old is None:
            out[cell] = {**now, "reason": reason}
            continue
        new = {n: now[n] if now[n] < old[n] or grew(n, old[n], now[n], MARGIN) else old[n] for n in NUMBERS}
        same = all(new[n] == old[n] for n in NUMBERS)
        out[cell] = {**new, "reason": old["reason"] if same else reason}
    return out


def read(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def write(path, where, cells):
    """One line a cell, so that a change shows as a change of lines."""
    lines = ",\n".join(f"  {json.dumps(cell)}: {json.dumps(numbers)}" for cell, numbers in sorted(cells.items()))
    with open(path, "w", encoding="utf-8") as f:
        f.write(f'{{\n "counted": {json.dumps(where)},\n "cells": {{\n{lines}\n }}\n}}\n')


def check(kept, where, found):
    """(lines to print, exit status)"""
    margin = margin_for(kept["counted"], where)
    lines = [f"{cell}: {n['instructions']} instructions, {n['calls']} calls" for cell, n in sorted(found.items())]
    if margin is None:
        return [*lines, f"counts.json is of {kept['counted']}; there are no counts for {where}"], 1
    if margin != MARGIN:
        lines.append(f"counts.json is of {kept['counted']}, this build of {where}: compared with a margin of {margin:.0%}")
    faults, advice = compare(kept["cells"], found, margin)
    lines += [f"fewer than kept, write them down with --update: {text}" for text in advice]
    lines += [f"FAULT {text}" for text in faults]
    if faults:
        lines.append("where the growth is meant: tests/instructions/run.py BUILD --update 'the reason', and commit it")
    return [*lines, f"{len(found)} cells, {len(faults)} faults"], 1 if faults or not found else 0


class SelfTest(unittest.TestCase):
    """That the guard can fail."""

    KEPT = {"counted": "gcc 12 on x86_64", "cells": {"a": {"instructions": 1000, "calls": 2, "reason": "first"},
                                                     "b": {"instructions": 10, "calls": 0, "reason": "first"}}}

    def run_check(self, where="gcc 12 on x86_64", **changes):
        found = {"a": {"instructions": 1000, "calls": 2}, "b": {"instructions": 10, "calls": 0}}
        for cell, numbers in changes.items():
            found[cell] = None if numbers is None else {**found.get(cell, {}), **numbers}
        lines, status = check(self.KEPT, where, {c: n for c, n in found.items() if n is not None})
        return "\n".join(lines), status

    def test_same(self):
        self.assertEqual(self.run_check()[1], 0)
        self.assertEqual(self.run_check(a={"instructions": 1100})[1], 0, "ten percent are allowed")

    def test_grown(self):
        text, status = self.run_check(a={"instructions": 1101})
        self.assertEqual(status, 1)
        self.assertIn("FAULT a: instructions were 1000, are 1101 (+10.1%", text)
        self.assertNotIn("FAULT b", text)

    def test_new_call(self):
        self.assertEqual(self.run_check(b={"calls": 1})[1], 0)
        text, status = self.run_check(b={"calls": 2})
        self.assertEqual(status, 1)
        self.assertIn("FAULT b: calls were 0, are 2 (from nothing", text)

    def test_fallen(self):
        text, status = self.run_check(a={"instructions": 899})
        self.assertEqual(status, 0)
        self.assertIn("write them down with --update: a: instructions were 1000, are 899 (-10.1%)", text)

    def test_cells_come_and_go(self):
        text, status = self.run_check(b=None)
        self.assertEqual(status, 1)
        self.assertIn("FAULT b: in counts.json, and no longer counted", text)
        text, status = self.run_check(c={"instructions": 1, "calls": 0})
        self.assertEqual(status, 1)
        self.assertIn("FAULT c: counted, and not in counts.json", text)
        self.assertEqual(check({**self.KEPT, "cells": {}}, "gcc 12 on x86_64", {})[1], 1, "nothing was counted")

    def test_other_compiler(self):
        text, status = self.run_check("gcc 14 on x86_64", a={"instructions": 1500})
        self.assertEqual(status, 0)
        self.assertIn("this build of gcc 14 on x86_64: compared with a margin of 50%", text)
        self.assertEqual(self.run_check("clang 14 on x86_64", a={"instructions": 1501})[1], 1)
        text, status = self.run_check("gcc 12 on aarch64")
        self.assertEqual(status, 1)
        self.assertIn("there are no counts for gcc 12 on aarch64", text)

    def test_compiler(self):
        self.assertEqual(compiler_of("12.2.0"), "gcc 12")
        self.assertEqual(compiler_of("Debian Clang 14.0.6"), "clang 14")

    def test_update(self):
        found = {"a": {"instructions": 1099, "calls": 1}, "b": {"instructions": 20, "calls": 0},
                 "c": {"instructions": 5, "calls": 0}}
        kept = updated(self.KEPT["cells"], found, "why")
        self.assertEqual(kept["a"], {"instructions": 1000, "calls": 1, "reason": "why"}, "no creeping up")
        self.assertEqual(kept["b"], {"instructions": 20, "calls": 0, "reason": "why"})
        self.assertEqual(kept["c"], {"instructions": 5, "calls": 0, "reason": "why"})
        again = updated(kept, {c: {n: kept[c][n] for n in NUMBERS} for c in ("a", "b")}, "other")
        self.assertEqual([n["reason"] for n in again.values()], ["why", "why"])
        self.assertNotIn("c", again)

    def test_written_as_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "counts.json")
            write(path, self.KEPT["counted"], self.KEPT["cells"])
            self.assertEqual(read(path), self.KEPT)

    def test_callgrind_file(self):
        text = """version: 1
part: 1
desc: Trigger: Client Request: first / 2
ob=(1) /somewhere/count
fn=(1) answer
0 100
cob=(2) /usr/lib/libc.so.6
cfn=(2) memcpy
calls=6 0
0 5000
cfn=(3) helper
calls=2 0
0 40
0 8
fn=(3)
* 40
ob=(2)
fn=(2)
0 5000
cob=(1)
cfn=(3)
calls=1 0
0 3
ob=(1)
fn=(4) last
0 2
totals: 5153
part: 2
desc: Trigger: Client Request: second / 1
ob=(1)
fn=(1)
0 7
part: 3
desc: Trigger: Program termination
ob=(1)
fn=(1)
0 9
"""
        self.assertEqual(parse(text.splitlines(), "count"), {"first": {"instructions": 75, "calls": 3},
                                                             "second": {"instructions": 7, "calls": 0}})

    def test_kept_counts(self):
        """counts.json itself: every cell has its numbers and a reason."""
        kept = read(COUNTS)
        self.assertTrue(kept["cells"])
        for cell, numbers in kept["cells"].items():
            self.assertEqual(sorted(numbers), ["calls", "instructions", "reason"], cell)
            self.assertTrue(numbers["reason"].strip(), cell)


def main(argv):
    if argv == ["--self-test"]:
        return 0 if unittest.main(argv=["run"], exit=False).result.wasSuccessful() else 1
    if len(argv) not in (1, 3) or argv[0].startswith("-") or (len(argv) == 3 and argv[1] != "--update"):
        print(__doc__, file=sys.stderr)
        return 2
    where, found = count(argv[0])
    if len(argv) == 1:
        lines, status = check(read(COUNTS), where, found)
        print("\n".join(lines))
        return status
    kept = read(COUNTS) if os.path.exists(COUNTS) else {"counted": where, "cells": {}}
    if not argv[2].strip():
        print("an update needs a reason", file=sys.stderr)
        return 2
    # Another compiler's counts are no measure for these.
    before = kept["cells"] if kept["counted"] == where else {}
    write(COUNTS, where, updated(before, found, argv[2].strip()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
