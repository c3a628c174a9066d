#!/usr/bin/env python3
"""The layers of the source, held by their #include lines.

lint_layers.py ROOT         says every fault as FILE:LINE: TEXT; exit status 1 where there is one
lint_layers.py --self-test  shows that each kind of fault is found

Only direct includes count: what a header of a lower layer brings along is its own business.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

LAYERS = ("nsd-core/base", "nsd-core", "zones", "hsm", "signer")

# From a layer to those it may include; "hsm/hsm.h" is one header, the others are whole layers.
MAY_INCLUDE = {
    "nsd-core/base": ("nsd-core/base",),
    "zones": ("nsd-core/base", "zones"),
    "hsm": ("nsd-core/base", "hsm"),
    "signer": ("nsd-core/base", "zones", "hsm/hsm.h", "signer"),
    "nsd-core": ("nsd-core/base", "zones", "hsm/hsm.h", "signer", "nsd-core"),
}

# Headers of a library (a pattern), and the files (a pattern) that may name them.
LIBRARIES = (
    (r"uv\.h|uv/", r"nsd-core/base/(loop|inbox)\.|nsd-core/[^/]+$"),
    (r"urcu\.h|urcu[/-]", r"nsd-core/base/(rcu|inbox)\.|signer/"),
    (r"ldns/", r"zones/|nsd-core/parent"),
    (r"unbound\.h", r"nsd-core/parent"),
    (r"openssl/", r"nsd-core/base/(digest|hmac)\.|nsd-core/tls\.|hsm/|zones/dkim"),
    (r"libp11\.h|p11-kit/", r"hsm/pkcs11"),
    (r"curl/", r"hsm/aws_http\."),
    (r"jansson\.h", r"nsd-core/(control|ctl)|hsm/(kms|aws)"),
    (r"lmdb\.h", r"nsd-core/base/store"),
    (r"yaml\.h", r"nsd-core/conf"),
    (r"microhttpd\.h", r"nsd-core/http"),
    (r"bpf/|xdp/", r"nsd-core/xdp"),
    (r"sanitizer/", r"nsd-core/base/tsan\.h"),
)

# What C, POSIX and Linux give: free to all. Anything else must stand in LIBRARIES.
SYSTEM = re.compile(
    r"(sys|net|netinet|arpa|linux|bits)/[\w/]+\.h|"
    r"(assert|byteswap|complex|ctype|dirent|dlfcn|elf|endian|err|errno|fcntl|float|fnmatch|ftw|getopt|glob|grp|"
    r"ifaddrs|inttypes|iso646|langinfo|libgen|limits|link|locale|malloc|math|netdb|poll|pthread|pwd|regex|sched|"
    r"search|semaphore|setjmp|signal|spawn|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|"
    r"stdnoreturn|string|strings|sysexits|syslog|termios|tgmath|threads|time|uchar|unistd|utime|wchar|wctype|wordexp|"
    r"immintrin|x86intrin|arm_neon)\.h"
)

PACKAGES = ("libuv", "liburcu-memb", "liburcu-cds", "libcrypto", "lmdb", "ldns", "p11-kit-1", "libp11",
            "yaml-0.1", "jansson", "libcurl")

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)')


def layer_of(path):
    """The layer that a path from the root belongs to; None: of none."""
    for layer in LAYERS:
        if path.startswith(layer + "/"):
            return layer
    return None


def sources(root):
    for top in ("nsd-core", "zones", "hsm", "signer"):
        for path in sorted((root / top).rglob("*.[ch]")):
            yield path.relative_to(root).as_posix()


def includes(root, path):
    """(line, "local" or "system", header) of every include line."""
    text = (root / path).read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, "local" if found[1] else "system", found[1] or found[2]


def check_local(root, path, header):
    """What is wrong with naming this header of ours, or None."""
    if not (root / header).is_file():
        return f'"{header}" is not a path from the root'
    layer, target = layer_of(path), layer_of(header)
    if target is None:
        return f'"{header}" belongs to no layer'
    if target in MAY_INCLUDE[layer] or header in MAY_INCLUDE[layer]:
        return None
    return f'{layer} may not include "{header}"'


def check_system(path, header):
    for names, places in LIBRARIES:
        if re.match(names, header):
            return None if re.match(places, path) else f"<{header}> may not be named here"
    return None if SYSTEM.fullmatch(header) else f"<{header}> is of no library known to this lint"


def find_cycle(graph):
    """A list of paths that include one another in a ring, or None."""
    done, trail = set(), []

    def visit(path):
        if path in trail:
            return trail[trail.index(path):] + [path]
        if path in done:
            return None
        trail.append(path)
        for header in graph.get(path, ()):
            ring = visit(header)
            if ring:
                return ring
        trail.pop()
        done.add(path)
        return None

    for path in sorted(graph):
        ring = visit(path)
        if ring:
            return ring
    return None


def compiler_flags():
    flags = []
    for package in PACKAGES:
        run = subprocess.run(["pkg-config", "--cflags", package], capture_output=True, text=True, check=False)
        flags += run.stdout.split()
    return flags


def compile_alone(root, header, flags):
    """A header must bring along all that it uses. The compiler's words, or None."""
    command = [os.environ.get("CC", "cc").split()[0], "-std=c17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror",
               "-fsyntax-only", f"-I{root}", *flags, "-x", "c", "-"]
    run = subprocess.run(command, input=f'#include "{header}"\n', cwd=root, capture_output=True, text=True,
                         check=False)
    return None if run.returncode == 0 else f"does not compile alone:\n{run.stderr.rstrip()}"


def lint(root):
    """Every fault in the tree under root."""
    faults, graph = [], {}
    paths = list(sources(root))
    for path in paths:
        graph[path] = []
        for number, kind, header in includes(root, path):
            if kind == "local":
                graph[path].append(header)
                fault = check_local(root, path, header)
            else:
                fault = check_system(path, header)
            if fault:
                faults.append(f"{path}:{number}: {fault}")
    ring = find_cycle(graph)
    if ring:
        faults.append(f"{ring[0]}:1: an include cycle: {' -> '.join(ring)}")
    headers = [path for path in paths if path.endswith(".h")]
    flags = compiler_flags()
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for header, fault in zip(headers, pool.map(lambda h: compile_alone(root, h, flags), headers)):
            if fault:
                faults.append(f"{header}:1: {fault}")
    return sorted(faults), len(paths)


class SelfTest(unittest.TestCase):
    """Small trees with one fault each."""

    def faults(self, files):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            for path, text in files.items():
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_text(text, encoding="utf-8")
            return lint(root)[0]

    def expect(self, files, *wanted):
        found = self.faults(files)
        self.assertEqual(len(found), len(wanted), found)
        for fault, pattern in zip(found, wanted):
            self.assertRegex(fault, pattern)

    def test_clean(self):
        self.expect({
            "nsd-core/base/a.h": "#pragma once\n#include <stdint.h>\nuint8_t a(void);\n",
            "nsd-core/base/store.c": '#include "nsd-core/base/a.h"\n#include <lmdb.h>\n',
            "hsm/hsm.h": '#pragma once\n#include "nsd-core/base/a.h"\n',
            "signer/s.c": '#include "hsm/hsm.h"\n#include <urcu/rculfhash.h>\n',
            "nsd-core/main.c": '#include "hsm/hsm.h"\n  #  include "nsd-core/base/a.h"\n#include <uv.h>\n',
        })

    def test_upward(self):
        self.expect({
            "nsd-core/base/a.c": '#include "zones/z.h"\n',
            "zones/z.h": "#pragma once\n",
        }, r'^nsd-core/base/a\.c:1: nsd-core/base may not include "zones/z\.h"')

    def test_base_is_not_the_server(self):
        self.expect({
            "nsd-core/base/a.c": '\n#include "nsd-core/answer.h"\n',
            "nsd-core/answer.h": "#pragma once\n",
        }, r"^nsd-core/base/a\.c:2: nsd-core/base may not include")

    def test_sideways(self):
        self.expect({
            "zones/z.c": '#include "hsm/hsm.h"\n',
            "hsm/hsm.h": "#pragma once\n",
            "hsm/pkcs11.h": "#pragma once\n",
            "signer/s.c": '#include "hsm/pkcs11.h"\n',
        }, r'^signer/s\.c:1: signer may not include "hsm/pkcs11\.h"', r"^zones/z\.c:1: zones may not include")

    def test_library_out_of_place(self):
        self.expect({
            "zones/z.c": "#include <openssl/evp.h>\n#include <stdio.h>\n",
            "nsd-core/worker.c": "#include <jansson.h>\n",
            "nsd-core/base/name.c": "#include <foo/bar.h>\n",
        }, r"^nsd-core/base/name\.c:1: <foo/bar\.h> is of no library", r"^nsd-core/worker\.c:1: <jansson\.h> may not",
            r"^zones/z\.c:1: <openssl/evp\.h> may not be named here")

    def test_path_not_from_the_root(self):
        self.expect({
            "zones/z.c": '#include "z.h"\n',
            "zones/z.h": "#pragma once\n",
        }, r'^zones/z\.c:1: "z\.h" is not a path from the root')

    def test_cycle(self):
        self.expect({
            "zones/a.h": '#pragma once\n#include "zones/b.h"\n',
            "zones/b.h": '#pragma once\n#include "zones/a.h"\n',
        }, r"include cycle: zones/a\.h -> zones/b\.h -> zones/a\.h")

    def test_header_that_needs_another(self):
        self.expect({"zones/a.h": "#pragma once\nuint8_t a(void);\n"}, r"^zones/a\.h:1: does not compile alone")


def main(argv):
    if argv == ["--self-test"]:
        return 0 if unittest.main(argv=["lint_layers"], exit=False).result.wasSuccessful() else 1
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
