"""A TPM 2.0 as a PKCS#11 token: swtpm, a resource manager before it, and tpm2-pkcs11 as the module."""

import os
import signal
import socket
import subprocess

from daemon import PIN
from procs import Process, free_port, program, wait_for

LOCKED_AT = 3  # wrong PINs, as swtpm is made
BUS = """<busconfig>
<type>session</type>
<listen>unix:path={path}</listen>
<auth>EXTERNAL</auth>
<policy context="default">
<allow send_destination="*" eavesdrop="true"/>
<allow eavesdrop="true"/>
<allow own="*"/>
</policy>
</busconfig>
"""


def tpm_module():
    for path in ("/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so", "/usr/lib/pkcs11/libtpm2_pkcs11.so"):
        if os.path.exists(path):
            return path
    raise FileNotFoundError("libtpm2_pkcs11.so")


def two_ports():
    """A free port for commands, and the next one, where clients look for swtpm's own."""
    while True:
        port = free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
            try:
                tcp.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


class Tpm:
    """A TPM of its own with a token in it. What the TPM holds and the module's data base of wrapped keys outlive the
    TPM's process. The module reaches it through tpm2-abrmd, which swaps keys in and out of the few places that a TPM has
    for them, and clears what a client leaves behind."""

    def __init__(self, folder, label="signet"):
        self.folder = str(folder)
        self.label = label
        for name in ("tpm", "store"):
            os.makedirs(os.path.join(self.folder, name))
        bus = os.path.join(self.folder, "bus")
        self.port = two_ports()
        self.direct = f"swtpm:host=127.0.0.1,port={self.port}"
        self.env = {"TPM2_PKCS11_STORE": os.path.join(self.folder, "store"),
                    "TPM2_PKCS11_TCTI": "tabrmd:bus_type=session", "DBUS_SESSION_BUS_ADDRESS": "unix:path=" + bus,
                    "TSS2_LOG": "all+NONE", **self.leaks()}
        self.pin_file = os.path.join(self.folder, "pin")
        self.write_pin(PIN)
        self.processes = []
        self.device = None
        try:
            self.power_on()
            self.start_manager(bus)
            self.pkcs11_tool("--slot-index", "0", "--init-token", "--label", label, "--so-pin", PIN)
            self.pkcs11_tool("--token-label", label, "--login", "--login-type", "so", "--so-pin", PIN, "--init-pin",
                             "--new-pin", PIN)
        except BaseException:
            self.stop()
            raise

    def leaks(self):
        """The module (1.9.0) leaves an octet string behind for each signature, whose stack ends in a call into libcrypto
        that nothing of ours makes; and what it had begun, when there is no TPM as it is initialised."""
        path = os.path.join(self.folder, "lsan.supp")
        with open(path, "w") as f:
            f.write("leak:ASN1_STRING_set\nleak:libtpm2_pkcs11.so\nleak:libtss2-\n")
        return {"LSAN_OPTIONS": f"suppressions={path}:print_suppressions=0"}

    def power_on(self):
        self.device = Process(
            [program("swtpm"), "socket", "--tpm2", "--tpmstate", f"dir={self.folder}/tpm", "--flags",
             "not-need-init,startup-clear", "--server", f"type=tcp,port={self.port},bindaddr=127.0.0.1",
             "--ctrl", f"type=tcp,port={self.port + 1},bindaddr=127.0.0.1"], self.folder, "swtpm")

        def up():
            if not self.device.alive():
                raise RuntimeError(f"swtpm ended:\n{self.device.text()}")
            return self.tool("getcap", "properties-fixed", check=False).returncode == 0
        wait_for(up, what="swtpm")

    def start_manager(self, bus):
        conf = bus + ".conf"
        with open(conf, "w") as f:
            f.write(BUS.format(path=bus))
        daemon = Process([program("dbus-daemon"), f"--config-file={conf}", "--nofork", "--nopidfile"], self.folder, "dbus")
        self.processes.append(daemon)
        wait_for(lambda: os.path.exists(bus), what="dbus-daemon")
        manager = Process([program("tpm2-abrmd"), "--session", "--allow-root", "--flush-all", "--tcti=" + self.direct],
                          self.folder, "tpm2-abrmd", self.env)
        self.processes.append(manager)

        def up():
            if not manager.alive():
                raise RuntimeError(f"tpm2-abrmd ended:\n{manager.text()}")
            return self.tool("getcap", "properties-fixed", check=False, tcti="tabrmd:bus_type=session").returncode == 0
        wait_for(up, what="tpm2-abrmd")

    def cut(self):
        """Power off without a word: the TPM counts that as a wrong PIN where one was used since it was started."""
        self.device.stop(signal.SIGKILL)

    def shut_down(self):
        """Power off as a kernel does it."""
        self.tool("shutdown", "--clear")
        self.device.stop()

    def alive(self):
        return self.device.alive() or any(p.alive() for p in self.processes)

    def stop(self):
        for p in [*reversed(self.processes), self.device]:
            if p is not None and p.alive():
                p.stop()

    def tool(self, name, *args, check=True, tcti=None):
        return subprocess.run([program("tpm2_" + name), *args], check=check, capture_output=True, text=True, timeout=60,
                              env={**os.environ, **self.env, "TPM2TOOLS_TCTI": tcti or self.direct})

    def pkcs11_tool(self, *args, check=True):
        return subprocess.run([program("pkcs11-tool"), "--module", tpm_module(), *args], check=check,
                              capture_output=True, text=True, timeout=60, env={**os.environ, **self.env})

    def wrong_pins(self):
        """How many the TPM counts, LOCKED_AT at most."""
        for line in self.tool("getcap", "properties-variable").stdout.splitlines():
            name, _, value = line.strip().partition(": ")
            if name == "TPM2_PT_LOCKOUT_COUNTER":
                return int(value, 16)
        raise RuntimeError("tpm2_getcap tells no TPM2_PT_LOCKOUT_COUNTER")

    def forgive(self):
        """As the TPM's owner: no wrong PIN was ever given."""
        self.tool("dictionarylockout", "--clear-lockout")

    def write_pin(self, pin):
        with open(self.pin_file + ".new", "w") as f:
            f.write(pin + "\n")
        os.chmod(self.pin_file + ".new", 0o600)
        os.rename(self.pin_file + ".new", self.pin_file)

    def keystore(self, isolate=True, sessions=2, name="token"):
        return {"name": name, "type": "pkcs11", "module": tpm_module(), "token": self.label, "pin-file": self.pin_file,
                "sessions": sessions, "isolate": isolate}
