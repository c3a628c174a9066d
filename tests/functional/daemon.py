"""signetd under test, with tokens and configuration of its own."""

import json
import os
import socket
import subprocess

import yaml

from procs import Server, free_port, program, wait_for

BUILD = os.environ.get("SIGNET_BUILD") or os.path.join(os.path.dirname(__file__), "..", "..", "build")
SIGNETD = os.path.abspath(os.path.join(BUILD, "nsd-core", "signetd"))
SIGNETCTL = os.path.abspath(os.path.join(BUILD, "nsd-core", "signetctl"))
PIN = "918273"


def softhsm_module():
    for path in ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"):
        if os.path.exists(path):
            return path
    raise FileNotFoundError("libsofthsm2.so")


class Token:
    """A SoftHSM token in a folder."""

    def __init__(self, folder, label="signet"):
        self.folder = str(folder)
        self.label = label
        os.makedirs(os.path.join(self.folder, "tokens"), exist_ok=True)
        self.conf = os.path.join(self.folder, "softhsm2.conf")
        with open(self.conf, "w") as f:
            f.write(f"directories.tokendir = {self.folder}/tokens\nobjectstore.backend = file\n"
                    "log.level = ERROR\n")
        self.env = {"SOFTHSM2_CONF": self.conf}
        subprocess.run([program("softhsm2-util"), "--init-token", "--free", "--label", label, "--pin", PIN,
                        "--so-pin", PIN], check=True, capture_output=True, env={**os.environ, **self.env})
        self.pin_file = os.path.join(self.folder, "pin")
        with open(self.pin_file, "w") as f:
            f.write(PIN + "\n")
        os.chmod(self.pin_file, 0o600)

    def keystore(self, name="token", sessions=2):
        return {"name": name, "type": "pkcs11", "module": softhsm_module(), "token": self.label,
                "pin-file": self.pin_file, "sessions": sessions}


def policy(name="default", **kw):
    """ksk and zsk in the keystore 'token', unless told."""
    base = {"name": name, "signing": "online", "ksk": {"keystore": "token"}, "zsk": {"keystore": "token"}}
    base.update(kw)
    return base


class Signet(Server):
    """signetd; conf is the configuration but for server's listen, state and control. listen: the address it binds
    and is asked at."""

    def __init__(self, folder, conf, env=None, wait=True, timeout=120, server=None, listen="127.0.0.1", port=None):
        self.folder = str(folder)
        self.address = listen
        self.port = port or free_port()
        self.conf_path = os.path.join(self.folder, "signet.yaml")
        self.env = env or {}
        full = {"server": {"listen": [f"{listen}@{self.port}"], "state": "state", "control": "control.sock", "workers": 2,
                           **(server or {})}, **conf}
        os.makedirs(os.path.join(self.folder, "state"), exist_ok=True)
        with open(self.conf_path, "w") as f:
            yaml.safe_dump(full, f, sort_keys=False)
        self.run(wait, timeout)

    def run(self, wait=True, timeout=120):
        notify = os.path.join(self.folder, "notify.sock")
        if os.path.exists(notify):
            os.unlink(notify)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
            s.bind(notify)
            os.chmod(notify, 0o777)
            s.settimeout(0.2)
            super().__init__([SIGNETD, "-c", self.conf_path], self.folder, "signetd",
                             {**self.env, "NOTIFY_SOCKET": notify})
            if wait:
                def ready():
                    if not self.alive():
                        raise RuntimeError(f"signetd ended with {self.child.poll()}:\n{self.text()}")
                    try:
                        return b"READY=1" in s.recv(4096)
                    except TimeoutError:
                        return False
                try:
                    wait_for(ready, timeout, "signetd READY=1")
                except BaseException:
                    # Nobody has it yet who would end it.
                    self.stop()
                    raise

    def restart(self, **kw):
        self.stop()
        self.run(**kw)

    def ctl(self, *args, check=True):
        done = subprocess.run([SIGNETCTL, "-c", self.conf_path, *args], capture_output=True, text=True,
                              timeout=120, env={**os.environ, **self.env})
        if check and done.returncode != 0:
            raise RuntimeError(f"signetctl {' '.join(args)}: {done.returncode}: {done.stderr}")
        return done

    def ctl_json(self, *args):
        return json.loads(self.ctl(*args, "--json").stdout)

    def wait_complete(self, zone, timeout=120):
        """Until every signature of the zone is made; the zone as dumped."""
        def dump():
            done = self.ctl("zone", "dump", zone, check=False)
            return done.stdout if done.returncode == 0 else None
        return wait_for(dump, timeout, f"{zone} completely signed")

    def ds(self, zone):
        """DS records as text lines 'TAG ALG TYPE DIGEST'."""
        lines = self.ctl("ds", zone).stdout.splitlines()
        return [" ".join(line.split(" DS ", 1)[1].split()) for line in
                (" ".join(x.split()) for x in lines) if " DS " in line]
