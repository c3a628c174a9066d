"""What every part of the benchmark is given: sizes, CPUs, folders, and the crew of processes to be ended."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

TOP = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
BUILD_DEFAULT = os.path.join(TOP, "build-bench")
PROGRAMS = ("nsd-core/signetd", "nsd-core/signetctl", "bench/echo")

sys.path.insert(0, os.path.join(TOP, "tests", "functional"))
os.environ.setdefault("SIGNET_BUILD", BUILD_DEFAULT)


class Signals:
    """What ends the benchmark from outside. Held back while a process is being started: an exception between its birth
    and its place in the crew would leave it to nobody."""

    def __init__(self):
        self.held = False
        self.came = None

    def listen(self):
        signal.signal(signal.SIGTERM, self.on_signal)
        signal.signal(signal.SIGINT, self.on_signal)

    def on_signal(self, number, frame):
        del frame
        self.came = number
        if not self.held:
            self.end()

    def end(self):
        raise SystemExit(128 + self.came)

    def holding(self, make):
        """make()'s result; a signal that came meanwhile has its effect then."""
        self.held = True
        try:
            return make()
        finally:
            self.held = False


SIGNALS = Signals()


class Crew:
    """Every process that the benchmark started and has not ended yet. Left, it ends them all, the last one first."""

    def __init__(self):
        self.members = []

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop(*self.members)

    def add(self, process):
        self.members.append(process)
        return process

    def start(self, make):
        """The process that make() starts, as one of the crew."""
        process = SIGNALS.holding(lambda: self.add(make()))
        if SIGNALS.came is not None:
            SIGNALS.end()
        return process

    def stop(self, *processes):
        """Ends them in reverse; a process that does not end is killed (by Process.stop) and the others still ended."""
        for process in reversed(processes):
            self.members.remove(process)
            try:
                process.stop()
            except subprocess.TimeoutExpired:
                print(f"{process.name} did not end by itself", file=sys.stderr)


@dataclass
class Context:
    names: list           # sizes of the zones, in names
    rounds: int
    seconds: float        # of one run of the generator
    work: str             # a folder that is removed afterwards
    crew: Crew
    holder: object = None     # netns.py: the process that keeps the generator's namespace
    quick: bool = False
    generator: str = "dnsperf"
    rate: int = 100000    # kxdpgun's, a second
    address: str = "127.0.0.1"
    server_cpu: int = 0
    load_cpu: int = 1
    peers: tuple = ("nsd", "knot")
    mixes: tuple = ("hit", "nxdomain", "referral", "nodata", "wildcard", "mix")
    build: str = field(default_factory=lambda: os.environ["SIGNET_BUILD"])
    zones: dict = field(default_factory=dict)     # zones.py: what was written already
    started: float = field(default_factory=time.monotonic)

    def say(self, text):
        print(f"{time.monotonic() - self.started:6.0f} s  {text}", file=sys.stderr, flush=True)

    def folder(self, name):
        """A folder of this name under the work folder, made where there is none."""
        path = os.path.join(self.work, name)
        os.makedirs(path, exist_ok=True)
        return path

    def drop(self, name):
        shutil.rmtree(os.path.join(self.work, name), ignore_errors=True)

    def program(self, name):
        """A program of the build folder, as 'bench/echo'."""
        return os.path.join(self.build, name)

    def rng(self, seed):
        """Drawn anew from the same seed each time, so that runs ask the same questions."""
        return random.Random(seed)


def build(folder, targets):
    """The targets of a build folder, which is made where there is none."""
    if not os.path.exists(os.path.join(folder, "build.ninja")):
        subprocess.run(["meson", "setup", folder, TOP, "-Dbuildtype=release", "-Db_lto=true"], check=True,
                       stdout=sys.stderr)
    subprocess.run(["ninja", "-C", folder, *targets], check=True, stdout=sys.stderr)
