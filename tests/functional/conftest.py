"""Fixtures: a folder for each test's daemons, a token, and the seed of what is drawn at random."""

import os
import random
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from daemon import Token  # noqa: E402

LONG = os.environ.get("SIGNET_LONG") == "yes"
SOAK_S = int(os.environ.get("SIGNET_SOAK_MINUTES", "60")) * 60 if LONG else 0


@pytest.fixture(scope="session")
def seed():
    """The seed of the run; SIGNET_SEED repeats one."""
    value = int(os.environ.get("SIGNET_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"SIGNET_SEED={value}")
    return value


@pytest.fixture
def token(tmp_path):
    return Token(tmp_path / "token")


@pytest.fixture
def run(tmp_path):
    """Starts processes that are ended, in reverse order, when the test is over: run(Class, args...)."""
    started = []

    def start(kind, *args, **kw):
        process = kind(*args, **kw)
        started.append(process)
        return process

    yield start
    for process in reversed(started):
        if process.alive():
            process.stop()
