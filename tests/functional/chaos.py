"""Troubles of keystores, drawn at random: each begins, lasts for a drawn time, and ends."""

import os
import shutil
import signal
import subprocess
import time

from daemon import BUILD, PIN, Token, softhsm_module
from procs import program, wait_for

P11WRAP = os.path.abspath(os.path.join(BUILD, "tests", "tools", "p11wrap.so"))
KIT_CLIENT = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
STEP_S = 0.25
HEAL_S = 120  # a keystore waits 30 s at most before it is tried again
PIN_GIVEN_UP = "was refused and is not tried again"

CKR_GENERAL_ERROR = 0x5
CKR_DEVICE_ERROR = 0x30
FAIL_ONCE = ("C_SignInit", "rv", CKR_DEVICE_ERROR, 1)
# What real tokens say when something is wrong, by what has to be done about it.
ERRORS = [0x5, 0x6, CKR_DEVICE_ERROR, 0x31, 0x32, 0xe0, 0x190, 0x82, 0x60, 0xb3, 0xb0, 0x90, 0x91, 0x101, 0x80000042]


def replace(path, text):
    with open(path + ".new", "w") as f:
        f.write(text)
    os.chmod(path + ".new", 0o600)
    os.rename(path + ".new", path)


class Rules:
    """What the scripted module does to one keystore: FUNCTION, ACTION, and where need be VALUE and how many TIMES."""

    NUMBERS = 4096  # that the module counts by

    def __init__(self, path):
        self.path = path
        self.number = 0
        self.base = []  # what is always so
        self.clear()

    def clear(self):
        self.set()

    def set(self, *rules):
        text = ""
        for function, action, *rest in [*rules, *self.base]:
            value, times = (*rest, *(0, -1)[len(rest):])
            self.number = (self.number + 1) % self.NUMBERS
            if self.number == 0:
                self.forget()
            text += f"{function} {action} {value} {times} {self.number}\n"
        replace(self.path, text)

    def forget(self):
        """All numbers are new again."""
        with open(self.path + ".used", "r+b") as f:
            f.write(bytes(8 * self.NUMBERS))

    def calls(self, function):
        try:
            with open(self.path + ".log") as f:
                return f.read().split().count(function)
        except FileNotFoundError:
            return 0


class Keystore:
    """One of the server's keystores, and the hands that reach into it."""

    def __init__(self, name, folder, isolate=True):
        tokens = os.path.join(folder, "tokens")
        before = set(os.listdir(tokens)) if os.path.isdir(tokens) else set()
        self.name = name
        self.server = None  # signetd
        self.failed = lambda: False  # has somebody seen a fault of the server?
        self.isolate = isolate
        self.token = Token(folder, name)
        (own,) = set(os.listdir(tokens)) - before
        self.files = os.path.join(tokens, own)
        with open(os.path.join(self.files, "token.object"), "rb") as f:
            self.kept = f.read()
        self.pin_file = os.path.join(folder, "pin-" + name)
        replace(self.pin_file, PIN + "\n")
        self.rules = Rules(os.path.join(folder, "rules-" + name))

    def configured(self):
        return {"name": self.name, "type": "pkcs11", "module": P11WRAP, "token": self.name, "pin-file": self.pin_file,
                "sessions": 4, "isolate": self.isolate, "init-args": self.rules.path}

    def shown(self):
        return next(k for k in self.server.ctl_json("keystore", "list")["keystores"] if k["name"] == self.name)

    def mend(self):
        """SoftHSM empties this file and writes it again at each log-in: killed in between, it has lost the token, until
        the operator brings it back."""
        path = os.path.join(self.files, "token.object")
        if os.path.getsize(path) < len(self.kept):
            with open(path + ".new", "wb") as f:
                f.write(self.kept)
            os.rename(path + ".new", path)

    def is_well(self):
        self.mend()
        shown = self.shown()
        return shown["state"] == "up" and shown["sessions"] == 4

    def process(self):
        """The process of the module, looked at twice: a number may be another's by now."""
        pid = self.shown()["pid"]
        try:
            with open(f"/proc/{pid}/cmdline") as f:
                return pid if f"signetd: keystore {self.name}" in f.read() else None
        except FileNotFoundError:
            return None

    def signal(self, number):
        pid = self.process()
        if pid is not None:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                return None
        return pid

    def open_again(self):
        """The module is opened and logged in to anew, as soon as somebody wants a signature."""
        if self.isolate:
            self.signal(signal.SIGKILL)
        else:
            self.rules.set(FAIL_ONCE)

    def util(self, *args):
        subprocess.run([program("softhsm2-util"), *args], check=True, capture_output=True,
                       env={**os.environ, **self.token.env})


class Kit(Keystore):
    """A token behind a p11-kit server, which has a process for each connection: all are in a group of their own."""

    def __init__(self, name, folder):
        super().__init__(name, folder)
        self.socket = os.path.join(folder, "p11.sock")
        self.child = None
        self.start()

    def configured(self):
        # The scripted module is in the server of the token.
        plain = {**super().configured(), "module": KIT_CLIENT}
        del plain["init-args"]
        return plain

    def start(self):
        if os.path.exists(self.socket):
            os.unlink(self.socket)
        self.child = subprocess.Popen(
            [program("p11-kit"), "server", "-f", "--provider", P11WRAP, "-n", self.socket, f"pkcs11:token={self.name}"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, **self.token.env, "P11WRAP_MODULE": softhsm_module(), "P11WRAP_CONTROL": self.rules.path,
                 "P11WRAP_LOG": self.rules.path + ".log"})
        wait_for(lambda: os.path.exists(self.socket), what="p11-kit server")

    def alive(self):
        return self.child is not None

    def signal_all(self, number):
        os.killpg(self.child.pid, number)

    def stop(self):
        if self.child is not None:
            self.signal_all(signal.SIGKILL)
            self.child.wait()
            self.child = None


# The troubles. Each is a generator: it begins, is stepped while it lasts, and is closed when it ends.


def scripted(function, action, value=0):
    def trouble(k, rng):
        k.rules.set((function, action, value))
        try:
            while True:
                yield
        finally:
            k.rules.clear()
    trouble.__name__ = f"{function} {action} {value}".strip()
    return trouble


def an_error(k, rng):
    """Some signatures end with it, or all; or what the module needs before it signs."""
    function = rng.choice(["C_Sign", "C_Sign", "C_SignInit", "C_FindObjectsInit", "C_OpenSession", "C_GetSessionInfo"])
    for_ever = rng.random() < 0.5
    try:
        while True:
            k.rules.set((function, "rv", rng.choice(ERRORS), -1 if for_ever else rng.randrange(1, 5)))
            yield
    finally:
        k.rules.clear()


def module_killed(k, rng):
    while True:
        if rng.random() < 0.5:
            k.signal(signal.SIGKILL)
        yield


def module_stopped(k, rng):
    pid = k.signal(signal.SIGSTOP)
    try:
        while True:
            yield
    finally:
        if pid is not None and k.process() == pid:
            os.kill(pid, signal.SIGCONT)


def few_sessions(k, rng):
    limit = ("C_OpenSession", "limit", 2)
    try:
        if k.isolate:
            k.rules.set(limit)
            k.signal(signal.SIGKILL)
        else:
            k.rules.set(FAIL_ONCE, limit)
        while True:
            yield
    finally:
        k.rules.clear()


def pin_wrong(k, rng):
    """Tried once, whatever is asked meanwhile."""
    before = k.rules.calls("C_Login")
    replace(k.pin_file, "000000\n")
    k.open_again()
    try:
        while True:
            yield
            tries = k.rules.calls("C_Login") - before
            assert tries <= 1, f"{k.name}: a PIN that was refused was tried {tries} times"
    finally:
        k.rules.clear()
        replace(k.pin_file, PIN + "\n")


def says_what_is_missing(k):
    errors = [z["error"] or "" for z in k.server.ctl_json("status")["zones"]]
    return any(f"key in keystore {k.name}: " in e and ("no private key" in e or "is gone" in e) for e in errors)


def token_made_anew(k, rng):
    """All keys are gone, which somebody is told, and come back with the files."""
    kept = os.path.join(k.token.folder, "kept-" + k.name)
    shutil.copytree(k.files, kept)
    k.util("--init-token", "--token", k.name, "--label", k.name, "--pin", PIN, "--so-pin", PIN)
    try:
        yield
        wait_for(lambda: k.failed() or says_what_is_missing(k), HEAL_S, "status says that keys are missing")
        while True:
            yield
    finally:
        shutil.rmtree(k.files)
        os.rename(kept, k.files)


def token_gone(k, rng):
    gone = os.path.join(k.token.folder, "gone-" + k.name)
    os.rename(k.files, gone)
    k.open_again()
    try:
        while True:
            yield
    finally:
        k.rules.clear()
        os.rename(gone, k.files)


def kit_killed(k, rng):
    """And started again, or away for all the time."""
    away = rng.random() < 0.5
    k.stop()
    try:
        while True:
            yield
            if not away:
                if k.child is None:
                    k.start()
                else:
                    k.stop()
    finally:
        if k.child is None:
            k.start()


def kit_stopped(k, rng):
    k.signal_all(signal.SIGSTOP)
    try:
        while True:
            yield
    finally:
        k.signal_all(signal.SIGCONT)


SLOW = [scripted("C_Sign", "delay", 50), scripted("C_Sign", "delay", 500)]
LYING = [scripted("C_Sign", action) for action in ("wrong", "short", "der", "long")]
HANGING = [scripted(function, "hold") for function in ("C_Sign", "C_SignInit", "C_OpenSession")]

# In the server's own process a module must not crash, nor hang for ever.
INSIDE = [*SLOW, *LYING, an_error, few_sessions, pin_wrong]
ISOLATED = [*INSIDE, *HANGING, module_killed, module_stopped, token_made_anew, token_gone,
            scripted("C_Sign", "crash"), scripted("C_Initialize", "rv", CKR_GENERAL_ERROR)]
BEHIND_KIT = [kit_killed, kit_killed, kit_stopped, module_killed, module_stopped, *SLOW, *LYING[:3], an_error,
              scripted("C_Sign", "hold"), scripted("C_Sign", "crash")]


class Chaos:
    """Draws troubles for the keystores, one after the other and several at once, and writes down when they were."""

    def __init__(self, rng, troubles):
        """troubles: Keystore -> what may befall it."""
        self.rng = rng
        self.troubles = troubles
        self.left = {k: [] for k in troubles}
        self.quiet = []  # (from, to)
        self.disturbed = []  # (from, to, what)

    def draw(self, k):
        """Each kind comes once before one comes again."""
        if not self.left[k]:
            self.left[k] = self.troubles[k][:]
            self.rng.shuffle(self.left[k])
        return self.left[k].pop()

    def disturb(self, alive):
        """Some troubles at once."""
        struck = self.rng.sample(list(self.troubles), self.rng.choice([1, 2, 2, len(self.troubles)]))
        drawn = [(k, self.draw(k)) for k in struck]
        end = time.monotonic() + self.rng.choice([1, 2, 3, 4, 13])
        begun = time.monotonic()
        running = [trouble(k, self.rng) for k, trouble in drawn]
        what = ", ".join(f"{k.name}: {t.__name__}" for k, t in drawn)
        try:
            while time.monotonic() < end and alive():
                for trouble in running:
                    next(trouble)
                time.sleep(STEP_S)
        finally:
            for trouble in running:
                trouble.close()
        wait_for(lambda: not alive() or all(k.is_well() for k in self.troubles), HEAL_S, f"all is well after {what}")
        self.disturbed.append((begun, time.monotonic(), what))

    def rest(self, alive):
        begun = time.monotonic()
        end = begun + self.rng.uniform(0.5, 1.5)
        while time.monotonic() < end and alive():
            time.sleep(STEP_S)
        self.quiet.append((begun, time.monotonic()))
