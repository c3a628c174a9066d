"""Keystores as operators meet them: their health, what check says is missing, what bench measures, and a server that
must end while one hangs."""

import os
import signal
import subprocess

from daemon import BUILD, SIGNETCTL, Signet, policy, softhsm_module
from procs import wait_for

ZONE = "example.test"
P11WRAP = os.path.abspath(os.path.join(BUILD, "tests", "tools", "p11wrap.so"))


def write_zone(path, serial=1, extra=""):
    with open(path + ".new", "w") as f:
        f.write(f"$TTL 300\n@ SOA ns h {serial} 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\n{extra}")
    os.rename(path + ".new", path)


class Wrapped:
    """The token behind the module that misbehaves on request."""

    def __init__(self, folder, token):
        self.control = os.path.join(folder, "wrap.control")
        self.log = os.path.join(folder, "wrap.log")
        self.env = {**token.env, "P11WRAP_MODULE": softhsm_module(), "P11WRAP_CONTROL": self.control,
                    "P11WRAP_LOG": self.log}
        self.rules = 0
        self.rule("")

    def rule(self, text, times=-1):
        """One rule: 'FUNCTION ACTION VALUE', or none."""
        self.rules += 1
        with open(self.control + ".new", "w") as f:
            f.write(f"{text} {times} {self.rules}\n" if text else "")
        os.rename(self.control + ".new", self.control)

    def calls(self, function):
        with open(self.log) as f:
            return f.read().split().count(function)


def start(run, folder, keystores, env, **kw):
    path = os.path.join(folder, "zone")
    write_zone(path)
    conf = {"keystores": keystores, "policies": [policy()], "zones": [{"name": ZONE, "file": path, "policy": "default"}]}
    return run(Signet, folder, conf, env=env, **kw)


def test_second_sigterm_ends_a_server_that_hangs(tmp_path, run, token):
    folder = str(tmp_path)
    wrapped = Wrapped(folder, token)
    server = start(run, folder, [{**token.keystore(), "module": P11WRAP, "isolate": False}], wrapped.env)
    server.wait_complete(ZONE)
    before = wrapped.calls("C_Sign")
    wrapped.rule("C_Sign hold 0")
    write_zone(os.path.join(folder, "zone"), 2)
    with subprocess.Popen([SIGNETCTL, "-c", server.conf_path, "zone", "reload", ZONE], stderr=subprocess.DEVNULL) as ctl:
        wait_for(lambda: wrapped.calls("C_Sign") > before, what="a signature that hangs")
        server.child.send_signal(signal.SIGTERM)
        wait_for(lambda: "SIGTERM: stopping" in server.text(), what="the server is stopping")
        server.child.send_signal(signal.SIGTERM)
        assert server.child.wait(30) == 1
        assert "ends at once" in server.text()
        assert ctl.wait(30) == 1
