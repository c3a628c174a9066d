"""Processes the tests start: each on loopback, ended by its own id."""

import os
import shutil
import signal
import socket
import subprocess
import time

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rdatatype


def free_port():
    """A port that is free for UDP and TCP on 127.0.0.1 now."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as tcp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
                try:
                    udp.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port


def wait_for(condition, timeout=30, what="condition"):
    """Polls until condition() gives something true, and returns it."""
    end = time.monotonic() + timeout
    while True:
        got = condition()
        if got:
            return got
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {timeout} s")
        time.sleep(0.02)


def program(name):
    path = shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if path is None:
        raise FileNotFoundError(f"{name} is not installed: run ./check, which installs it")
    return path


class Process:
    """One child process with its output in a file."""

    def __init__(self, argv, folder, name, env=None):
        self.name = name
        self.log_path = os.path.join(folder, name + ".log")
        self.log = open(self.log_path, "ab")
        self.child = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, cwd=folder,
            env={**os.environ, **(env or {})})

    def alive(self):
        return self.child.poll() is None

    def text(self):
        with open(self.log_path, errors="replace") as f:
            return f.read()

    def stop(self, sig=signal.SIGTERM, timeout=60):
        """Ends the process; its exit status."""
        if self.alive():
            self.child.send_signal(sig)
        try:
            status = self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
            raise
        finally:
            self.log.close()
        return status


class Server(Process):
    """A name server on 127.0.0.1; ready once it answers."""

    address = "127.0.0.1"
    port = None
    recursive = False

    def wait_ready(self, zones, timeout=60):
        for zone in zones:
            def up(zone=zone):
                if not self.alive():
                    raise RuntimeError(f"{self.name} ended:\n{self.text()}")
                try:
                    reply = self.ask(zone, "SOA", timeout=1)
                except (dns.exception.Timeout, OSError):
                    return False
                return reply.rcode() == 0 and bool(reply.answer)
            wait_for(up, timeout, f"{self.name} serving {zone}")
        return self

    def ask(self, name, rdtype, tcp=False, do=False, payload=1232, timeout=10, want_dnssec=None, **kw):
        q = dns.message.make_query(name, rdtype, use_edns=0, payload=payload,
                                   want_dnssec=do if want_dnssec is None else want_dnssec, **kw)
        if not self.recursive:
            q.flags &= ~dns.flags.RD
        ask = dns.query.tcp if tcp else dns.query.udp
        return ask(q, self.address, timeout=timeout, port=self.port)
