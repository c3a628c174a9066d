"""Answers do not notice what befalls keystores: modules that die, hang and lie, tokens that lose their keys or refuse the
PIN, servers of tokens that go away, while zones are edited and reloaded. What was answered once is answered always, what
is cold comes or is refused in time, and once the trouble is over all is signed, without a restart."""

import os
import random
import subprocess
import threading
import time

from chaos import BEHIND_KIT, INSIDE, ISOLATED, Chaos, Keystore, Kit, token_made_anew
from chaos_clients import Channel, Cold, ColdValidated, Names, Warm, WarmValidated, is_signed
from conftest import SOAK_S
from daemon import SIGNETCTL, Signet, policy, softhsm_module
from peers import Unbound
from procs import program, wait_for

SECONDS = SOAK_S or int(os.environ.get("SIGNET_CHAOS_S", "60"))
CHECK_EACH_S = 300  # of a long run: all is to be complete in between
HOSTS = 40
BIG_HOSTS = 2500
SIGN_MS = 20
EDIT_EACH_S = 2
COMPLETE_S = 240
CTL_S = 300
WARM_S = 0.25  # a warm answer that waited for a keystore took twice as long

# Zone -> its policy. In the small ones signatures fall due all the time.
ZONES = {"alpha.test": "alpha", "beta.test": "beta", "gamma.test": "gamma", "both.test": "both",
         "big-alpha.test": "big-alpha", "big-beta.test": "big-beta", "big-gamma.test": "big-gamma"}
BIG = [zone for zone in ZONES if zone.startswith("big-")]
DUE_SOON = {"signature-refresh": "60m", "signature-validity": "62m", "propagation": "10s"}
UNBOUND = """  ede: yes
  cache-max-ttl: 0
  cache-max-negative-ttl: 0
  msg-cache-size: 64k
  rrset-cache-size: 64k
  key-cache-size: 64k
  val-bogus-ttl: 1
  infra-keep-probing: yes
"""


class Edited:
    """A zone's file, edited and reloaded over and over. 'm' names change, 'gone' comes and goes, 'e' names are new."""

    def __init__(self, folder, zone, names):
        self.zone = zone
        self.path = os.path.join(folder, zone + ".zone")
        self.names = names
        self.hosts = 0 if zone in BIG else HOSTS
        self.edits = 0
        self.added = []  # names, each with its address
        self.write()

    def moving(self):
        return f"198.51.100.{self.edits % 250}"

    def write(self):
        with open(self.path + ".new", "w") as f:
            f.write("$TTL 60\n@ SOA ns h 1 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\n*.wild A 192.0.2.3\n")
            f.writelines(f"h{i:05} A 192.0.2.2\n" for i in range(self.hosts))
            f.writelines(f"m{i} A {self.moving()}\n" for i in range(4))
            f.writelines(f"{name} A 203.0.113.7\n" for name in self.added)
            if self.edits % 2 == 1:
                f.write("gone A 192.0.2.4\n")
        os.rename(self.path + ".new", self.path)

    def edit(self):
        self.edits += 1
        new = [f"e{self.edits:05}x{i}" for i in range(5)]
        self.added += new
        self.write()
        for name in new:
            self.names.cold.append(f"{name}.{self.zone}")

    def warm(self):
        """Questions whose answers never change but in their records; "{}" is any label."""
        z = self.zone
        always = [(z, "SOA", 0), (z, "NS", 0), (z, "DNSKEY", 0), (z, "MX", 0), (f"ns.{z}", "A", 0)]
        if z in BIG:
            return []
        return (always + [(f"h{i:05}.{z}", "A", 0) for i in range(self.hosts)] + [(f"m{i}.{z}", "A", 0) for i in range(4)] +
                [(f"h{i:05}.{z}", "TXT", 0) for i in range(4)] +
                [(f"h00001x{{}}.{z}", "A", 3), (f"zz{{}}.{z}", "MX", 3), (f"{{}}.wild.{z}", "A", 0)] * 4)


class Editor(threading.Thread):
    def __init__(self, server, edited):
        super().__init__()
        self.server = server
        self.edited = edited
        self.stopping = threading.Event()
        self.failed = None
        self.loaded = 0

    def run(self):
        try:
            while not self.stopping.wait(EDIT_EACH_S):
                self.edited.edit()
                self.loaded += reload(self.server, self.edited.zone)
        except Exception as e:  # noqa: BLE001 - told by finish()
            self.failed = e

    def finish(self):
        self.stopping.set()
        self.join()


def reload(server, zone):
    """Where a keystore is in trouble the version before is served on, which is no fault here."""
    done = subprocess.run([SIGNETCTL, "-c", server.conf_path, "zone", "reload", zone], capture_output=True, text=True,
                          timeout=CTL_S, env={**os.environ, **server.env})
    return done.returncode == 0


def configuration(keystores, paths):
    def pair(name, ksk, zsk, **kw):
        return policy(name, ksk={"keystore": ksk}, zsk={"keystore": zsk}, **kw)

    return {"keystores": [k.configured() for k in keystores],
            "policies": [pair("alpha", "alpha", "alpha", **DUE_SOON),
                         pair("beta", "beta", "beta", **DUE_SOON),
                         {"name": "gamma", "signing": "online", "denial": "nsec3", "csk": {"keystore": "gamma"},
                          **DUE_SOON},
                         pair("both", "beta", "alpha", **DUE_SOON),
                         pair("big-alpha", "alpha", "alpha"), pair("big-beta", "alpha", "beta"),
                         {"name": "big-gamma", "signing": "online", "denial": "nsec3", "csk": {"keystore": "gamma"}}],
            "zones": [{"name": zone, "file": paths[zone], "policy": p} for zone, p in ZONES.items()]}


class Stage:
    """The server with its keystores, its zones with their editors, and two validators."""

    def __init__(self, folder, run, rng):
        shared = os.path.join(folder, "tokens-here")
        self.folder = folder
        self.names = Names()
        self.alpha = Keystore("alpha", shared)
        self.gamma = Keystore("gamma", shared, isolate=False)
        self.beta = run(Kit, "beta", os.path.join(folder, "tokens-there"))
        self.keystores = [self.alpha, self.beta, self.gamma]
        self.edited = {z: Edited(folder, z, self.names) for z in ZONES}
        env = {**self.alpha.token.env, "P11_KIT_SERVER_ADDRESS": f"unix:path={self.beta.socket}",
               "P11WRAP_MODULE": softhsm_module()}
        self.server = run(Signet, folder, configuration(self.keystores, {z: e.path for z, e in self.edited.items()}),
                          env=env)
        for k in self.keystores:
            k.server = self.server
        for zone in ZONES:
            self.server.wait_complete(zone)
        self.begin_cold()
        self.names.warm = [q for e in self.edited.values() for q in e.warm()]
        self.put_cold(rng, 0)
        anchors = [f"{zone}. DS {ds}" for zone in ZONES for ds in self.server.ds(zone)]
        self.validators = []
        for name in ("warm", "cold"):
            os.mkdir(os.path.join(folder, name))
            self.validators.append(run(Unbound, os.path.join(folder, name), {z: self.server.port for z in ZONES},
                                       anchors, UNBOUND).wait_ready(["alpha.test"]))

    def begin_cold(self):
        """From here on keystores are slow, and what is new in the large zones is served before it is signed."""
        assert self.server.stop() == 0, self.server.text()
        for zone in BIG:
            self.edited[zone].hosts = BIG_HOSTS
            self.edited[zone].write()
        for k in self.keystores:
            k.rules.base = [("C_Sign", "delay", SIGN_MS)]
            k.rules.clear()
        self.server.run()

    def put_cold(self, rng, first):
        """Names of the large zones from there on, which the background has not reached."""
        hosts = [f"h{i:05}.{z}" for z in BIG for i in range(first, self.edited[z].hosts)]
        rng.shuffle(hosts)
        self.names.cold.extendleft(hosts)

    def grow(self, rng):
        """The large zones, by names that are cold."""
        first = self.edited[BIG[0]].hosts
        for zone in BIG:
            self.edited[zone].hosts += BIG_HOSTS // 10
        self.put_cold(rng, first)

    def keys(self):
        return {z: sorted((k["tag"], k["id"], k["role"], k["state"]) for k in self.server.ctl_json("key", "list", z)["keys"])
                for z in ZONES}

    def keys_made(self):
        return sum(k.rules.calls("C_GenerateKeyPair") for k in self.keystores)

    def check_complete(self):
        """Every zone is completely signed, and verifies."""
        for zone in ZONES:
            path = os.path.join(self.folder, "dump")
            with open(path, "w") as f:
                f.write(self.server.wait_complete(zone, COMPLETE_S))
            csk = ["-z"] if "gamma" in zone else []
            for argv in (["dnssec-verify", *csk, "-o", zone, path], ["ldns-verify-zone", path]):
                done = subprocess.run([program(argv[0]), *argv[1:]], capture_output=True, text=True)
                assert done.returncode == 0, f"{zone}: {argv[0]}: {done.stdout}{done.stderr}"


def test_a_token_made_anew(tmp_path, run, seed):
    """The keys are gone, and the keystore is well: what is signed is served on, no key is made, and status says what is
    missing, until the files are back."""
    folder, zone = str(tmp_path), "alpha.test"
    k = Keystore("alpha", os.path.join(folder, "tokens-here"))
    edited = Edited(folder, zone, Names())
    k.server = server = run(Signet, folder, {
        "keystores": [k.configured()], "policies": [policy(ksk={"keystore": "alpha"}, zsk={"keystore": "alpha"})],
        "zones": [{"name": zone, "file": edited.path, "policy": "default"}]},
        env={**k.token.env, "P11WRAP_MODULE": softhsm_module()})
    server.wait_complete(zone)
    keys, made = server.ctl_json("key", "list", zone)["keys"], k.rules.calls("C_GenerateKeyPair")
    trouble = token_made_anew(k, random.Random(seed))
    next(trouble)
    edited.edit()
    assert not reload(server, zone)
    next(trouble)
    for name, rdtype, rcode in edited.warm():
        reply = server.ask(name.replace("{}", "x"), rdtype, do=True)
        assert reply.rcode() == rcode and is_signed(reply), reply
    trouble.close()
    wait_for(lambda: reload(server, zone), COMPLETE_S, "the edit is loaded")
    server.wait_complete(zone)
    assert server.ask(f"{edited.added[0]}.{zone}", "A", do=True).answer
    assert server.ctl_json("key", "list", zone)["keys"] == keys and k.rules.calls("C_GenerateKeyPair") == made


def clients(stage, rng):
    port = stage.server.port
    warm, cold = (v.port for v in stage.validators)

    def draw():
        return random.Random(rng.randrange(1 << 32))

    direct = [Warm(stage.names, draw(), Channel(port, i % 2 == 1), 0.015) for i in range(4)]
    others = [Cold(stage.names, draw(), Channel(port, i % 2 == 1), 0.02) for i in range(8)]
    others += [WarmValidated(stage.names, draw(), Channel(warm, False, rd=True), 0.05),
               ColdValidated(stage.names, draw(), Channel(cold, False, rd=True), 0.1)]
    return direct, others


def soak(stage, chaos, threads):
    """Until time is over, or somebody has seen a fault."""
    def alive():
        return stage.server.alive() and not any(t.failed for t in threads)

    for k in stage.keystores:
        k.failed = lambda: not alive()
    end = time.monotonic() + SECONDS
    check = time.monotonic() + CHECK_EACH_S
    while time.monotonic() < end and alive():
        chaos.rest(alive)
        chaos.disturb(alive)
        if time.monotonic() > check and alive():
            stage.check_complete()
            stage.grow(chaos.rng)
            check = time.monotonic() + CHECK_EACH_S


def percentile(values, p):
    return sorted(values)[min(len(values) - 1, int(len(values) * p))]


def latencies(chaos, direct):
    """Of warm answers, in rest and in trouble."""
    took = [x for c in direct for x in c.took]
    quiet = [t for when, t in took if any(a <= when < b for a, b in chaos.quiet)]
    disturbed = [t for when, t in took if any(a <= when < b for a, b, _ in chaos.disturbed)]
    assert len(quiet) > 200 and len(disturbed) > 1000, (len(quiet), len(disturbed))
    return quiet, disturbed


def test_answers_do_not_notice_keystores(tmp_path, run, seed, capsys):
    rng = random.Random(seed)
    stage = Stage(str(tmp_path), run, rng)
    keys, made = stage.keys(), stage.keys_made()
    pid = stage.server.child.pid
    chaos = Chaos(rng, {stage.alpha: ISOLATED, stage.beta: BEHIND_KIT, stage.gamma: INSIDE})
    direct, others = clients(stage, rng)
    editors = [Editor(stage.server, e) for e in stage.edited.values()]
    threads = direct + others + editors
    for t in threads:
        t.start()
    try:
        soak(stage, chaos, threads)
    finally:
        for t in threads:
            t.finish()
        with open(os.path.join(stage.folder, "chaos.log"), "w") as f:
            f.writelines(f"{a:.2f} {b - a:.2f} {what}\n" for a, b, what in chaos.disturbed)
            f.writelines(f"{when:.2f} warm, {took:.3f} s\n" for c in direct for when, took in c.took if took > WARM_S)
    story = "\n".join(f"{a:.2f} to {b:.2f} {what}" for a, b, what in chaos.disturbed[-5:])
    failed = [t.failed for t in threads if t.failed]
    assert not failed and stage.server.alive(), f"{failed}\n{story}\n{stage.server.text()[-2000:]}"

    # All is over: what was edited is loaded, served and signed.
    for k in stage.keystores:
        k.rules.base = []
        k.rules.clear()
    for edited in stage.edited.values():
        edited.edit()
        wait_for(lambda e=edited: reload(stage.server, e.zone), COMPLETE_S, f"{edited.zone} loaded")
    stage.check_complete()
    for edited in stage.edited.values():
        for name in [*edited.added[-20:], *rng.sample(edited.added, 5)]:
            reply = stage.server.ask(f"{name}.{edited.zone}", "A", do=True)
            assert [rr.rdtype for rr in reply.answer] == [1, 46], reply
        assert edited.moving() in stage.server.ask(f"m0.{edited.zone}", "A").to_text()
    assert stage.keys() == keys and stage.keys_made() == made
    assert stage.server.child.pid == pid and stage.server.stop() == 0, stage.server.text()[-6000:]
    assert "Sanitizer" not in stage.server.text()
    for validator in stage.validators:
        assert "signature crypto failed" not in validator.text()

    quiet, disturbed = latencies(chaos, direct)
    cold = [c for c in others if isinstance(c, Cold)]
    with capsys.disabled():
        print(f"\n{len(chaos.disturbed)} troubles; edits: {[f'{e.loaded}/{e.edited.edits}' for e in editors]}")
        for what, values in (("in rest", quiet), ("in trouble", disturbed)):
            print(f"warm answers {what}: {len(values)}, p50 {percentile(values, 0.5) * 1e3:.2f} ms, "
                  f"p99 {percentile(values, 0.99) * 1e3:.2f} ms, p99.9 {percentile(values, 0.999) * 1e3:.2f} ms")
        print(f"cold answers: {sum(c.asked for c in cold)}, refused {sum(c.refused for c in cold)}, "
              f"slowest {max(c.slowest for c in cold):.2f} s; through unbound: warm {others[-2].asked}, "
              f"cold {others[-1].asked}, refused {others[-1].refused}")
    assert percentile(disturbed, 0.99) < max(20 * percentile(quiet, 0.99), WARM_S)
    assert all(c.asked > 10 for c in [*direct, *others]) and all(e.loaded > 0 for e in editors)
