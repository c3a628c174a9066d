#!/usr/bin/env python3
"""What the formatter and a line count can say of style.

lint_style.py ROOT         every C file formatted by .clang-format, headers with #pragma once, none over 600
                           lines; every fault as FILE:LINE: TEXT, exit status 1 where there is one
lint_style.py --self-test  shows that each kind of fault is found
"""

import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

FOLDERS = ("nsd-core", "zones", "hsm", "signer", "tests", "bench")
LINES_MAX = 600


def sources(root):
    for folder in FOLDERS:
        yield from sorted((root / folder).rglob("*.[ch]"))


def check_text(path, name):
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    if len(lines) > LINES_MAX:
        yield f"{name}:{len(lines)}: longer than {LINES_MAX} lines"
    if path.suffix == ".h" and "#pragma once" not in lines:
        yield f"{name}:1: a header without #pragma once"


def check_format(root, paths):
    run = subprocess.run(["clang-format", "--dry-run", "-Werror", "--style=file", "--ferror-limit=1",
                          *[path.relative_to(root) for path in paths]],
                         cwd=root, capture_output=True, text=True, check=False)
    faults = [line for line in run.stderr.splitlines() if ": error: " in line]
    if run.returncode != 0 and not faults:
        faults = [run.stderr.strip() or "clang-format failed"]
    return faults


def lint(root):
    paths = list(sources(root))
    faults = []
    for path in paths:
        faults += check_text(path, path.relative_to(root))
    if paths:
        faults += check_format(root, paths)
    return faults, len(paths)


class SelfTest(unittest.TestCase):
    def faults(self, name, text):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            shutil.copy(Path(__file__).resolve().parent.parent / ".clang-format", root)
            (root / "zones").mkdir()
            (root / "zones" / name).write_text(text, encoding="utf-8")
            return lint(root)[0]

    def test_clean(self):
        self.assertEqual(self.faults("a.h", "#pragma once\n\nint a(void);\n"), [])

    def test_unformatted(self):
        faults = self.faults("a.c", "int  a(void);\n")
        self.assertEqual(len(faults), 1, faults)
        self.assertIn("zones/a.c:1:", faults[0])

    def test_long(self):
        faults = self.faults("a.c", "int a;\n" * 601)
        self.assertEqual(faults, ["zones/a.c:601: longer than 600 lines"])
        self.assertEqual(self.faults("a.c", "int a;\n" * 600), [])

    def test_no_guard(self):
        self.assertEqual(self.faults("a.h", "int a(void);\n"), ["zones/a.h:1: a header without #pragma once"])


def main(argv):
    if argv == ["--self-test"]:
        return 0 if unittest.main(argv=["lint_style"], exit=False).result.wasSuccessful() else 1
    if len(argv) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    faults, count = lint(Path(argv[0]).resolve())
    for fault in faults:
        print(fault)
    print(f"{count} files, {len(faults)} faults")
    return 1 if faults or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
