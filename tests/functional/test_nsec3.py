"""Chains of NSEC3s: as other signers make them, and put in the place of another chain while the zone is served."""

import base64
import hashlib
import os
import random
import signal
import subprocess
import threading

import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rdatatype
import pytest
import yaml

import zonedata
from daemon import SIGNETCTL, Signet, Token, policy
from peers import Unbound
from procs import program, wait_for
from test_keystores import P11WRAP, Wrapped
from test_restart import assert_signed, made, rrsigs
from test_validation import anchors

ZONE = "deny.test"
NSEC = {"denial": "nsec", "nsec3-opt-out": False}
NSEC3 = {"denial": "nsec3", "nsec3-opt-out": False}
OPT_OUT = {"denial": "nsec3", "nsec3-opt-out": True}


def write_zone(path, serial, names):
    """Names, empty non-terminals, wildcards, and delegations with and without DS."""
    with open(path, "w") as f:
        f.write(f"$TTL 60\n@ SOA ns h {serial} 3600 600 86400 2\n@ NS ns\nns A 192.0.2.1\n*.wild TXT w\n"
                "deep.under.ent A 192.0.2.3\ncname CNAME h000001\n")
        f.writelines(f"h{i:06} A 192.0.2.2\n" for i in range(names))
        for i in range(names // 10):
            f.write(f"cut{i} NS ns.else.example.\n")
            if i % 3 == 0:
                f.write(f"cut{i} DS 1 13 2 {'00' * 32}\n")


def configure(keystore, path, **kw):
    return {"keystores": [keystore], "policies": [policy(**{**NSEC, **kw})],
            "zones": [{"name": ZONE, "file": path, "policy": "default"}]}


def set_policy(server, **kw):
    with open(server.conf_path) as f:
        conf = yaml.safe_load(f)
    conf["policies"][0].update(kw)
    with open(server.conf_path, "w") as f:
        yaml.safe_dump(conf, f, sort_keys=False)


def denial(server):
    """How the zone's version denies, by what it says itself: none, NSEC, NSEC3, opt-out."""
    reply = ask(server, f"nothing-of-this-name.{ZONE}")
    kinds = {r.rdtype for r in reply.authority} & {dns.rdatatype.NSEC, dns.rdatatype.NSEC3}
    assert len(kinds) == 1, reply
    if kinds == {dns.rdatatype.NSEC}:
        return NSEC
    flags = {rd.flags for r in reply.authority if r.rdtype == dns.rdatatype.NSEC3 for rd in r}
    assert len(flags) == 1, reply
    return OPT_OUT if flags == {1} else NSEC3


def ask(server, name, rdtype="A"):
    q = dns.message.make_query(name, rdtype, use_edns=0, want_dnssec=True)
    return dns.query.udp_with_fallback(q, server.address, port=server.port, timeout=20)[0]


def verify(folder, text):
    path = os.path.join(str(folder), "dump")
    with open(path, "w") as f:
        f.write(text)
    done = subprocess.run([program("dnssec-verify"), "-o", ZONE, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    done = subprocess.run([program("ldns-verify-zone"), path], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def serial(server):
    return ask(server, ZONE, "SOA").answer[0][0].serial


# What signers other than ours made.

def chain(text):
    """owner -> flags, next, types; and the parameters."""
    found, param = {}, None
    for line in text.splitlines():
        words = line.split()
        at = next((i for i, w in enumerate(words[1:], 1) if not w.isdigit() and w != "IN"), 0)
        rdata = words[at + 1:]
        if words[at:at + 1] == ["NSEC3"]:
            assert rdata[0] == "1" and rdata[2:4] == ["0", "-"], line
            found[words[0].lower()] = (rdata[1], rdata[4].lower(), frozenset(rdata[5:]))
        elif words[at:at + 1] == ["NSEC3PARAM"]:
            param = rdata
    return found, param


# With opt-out ldns-signzone sets the flag, and leaves no delegation out.
@pytest.mark.parametrize("signer, kind", [("dnssec-signzone", NSEC3), ("dnssec-signzone", OPT_OUT), ("ldns-signzone", NSEC3)],
                         ids=["dnssec-signzone", "dnssec-signzone-opt-out", "ldns-signzone"])
def test_other_signers_make_the_same_chain(tmp_path, run, signer, kind):
    path = zonedata.make(str(tmp_path), {"nasty.test": ("nasty", None)})["nasty.test"]
    conf = {"keystores": [{"name": "token", "type": "file"}],
            "policies": [policy(**kind, **{"publish-cds": False})],
            "zones": [{"name": "nasty.test", "file": path, "policy": "default"}]}
    server = run(Signet, tmp_path, conf)
    ours, param = chain(server.wait_complete("nasty.test"))
    assert param == ["1", "0", "0", "-"]

    def call(*argv):
        done = subprocess.run([program(argv[0]), *argv[1:]], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip().splitlines()

    opt_out = kind is OPT_OUT
    if signer == "dnssec-signzone":
        call("dnssec-keygen", "-a", "ECDSAP256SHA256", "-f", "KSK", "nasty.test")
        call("dnssec-keygen", "-a", "ECDSAP256SHA256", "nasty.test")
        call(signer, "-3", "-", "-H", "0", *(["-A"] if opt_out else []), "-S", "-P", "-o", "nasty.test", "-f", "signed",
             path)
    else:
        keys = [call("ldns-keygen", "-a", "ECDSAP256SHA256", *k, "nasty.test")[-1] for k in (["-k"], [])]
        call(signer, "-n", "-t", "0", "-o", "nasty.test", "-f", "signed", path, *keys)
    with open(tmp_path / "signed") as f:
        theirs, _ = chain(one_line(f.read()))
    assert len(ours) > 100
    if opt_out:
        # Ours has empty non-terminals that lead to cuts without DS only, too (RFC 5155 7.1 leaves that open).
        extra = {owner for owner in ours if owner not in theirs}
        assert extra and all(not ours[owner][2] for owner in extra)
        ours = {owner: (flags, types) for owner, (flags, _, types) in ours.items() if owner not in extra}
        theirs = {owner: (flags, types) for owner, (flags, _, types) in theirs.items()}
    assert ours == theirs


def one_line(text):
    """A zone with each record on a line of its own, and owners where they were left out."""
    out, owner, open_at = [], "", None
    for line in text.splitlines():
        line = line.split(";")[0] if '"' not in line else line
        if open_at is not None:
            out[open_at] += " " + line.strip()
        elif line[:1].strip():
            owner = line.split()[0]
            out.append(line)
        elif line.strip():
            out.append(owner + " " + line.strip())
        if open_at is None and line.rstrip().endswith("("):
            open_at = len(out) - 1
        elif open_at is not None and line.rstrip().endswith(")"):
            open_at = None
    return "\n".join(line.replace("(", " ").replace(")", " ") if "NSEC3" in line else line for line in out)


# What answers prove (RFC 5155 8).

def hashed(name):
    digest = hashlib.sha1(dns.name.from_text(name).canonicalize().to_wire()).digest()
    return base64.b32hexencode(digest).decode().lower()


class Proof:
    """The NSEC3s of an answer, each signed."""

    def __init__(self, reply):
        self.all = {}
        for rrset in reply.authority:
            assert rrset.rdtype != dns.rdatatype.NSEC
            if rrset.rdtype == dns.rdatatype.NSEC3:
                text = rrset[0].to_text().split()
                self.all[rrset.name.labels[0].decode()] = (int(text[1]), text[4], set(text[5:]))
        self.used = set()

    def types(self, name):
        """Those at the name; None: no NSEC3 matches it."""
        found = self.all.get(hashed(name))
        if found is not None:
            self.used.add(hashed(name))
        return None if found is None else found[2]

    def covers(self, name, opt_out=False):
        want = hashed(name)
        for owner, (flags, following, _) in self.all.items():
            if owner < want < following or (following <= owner and (want > owner or want < following)):
                self.used.add(owner)
                return flags == (1 if opt_out else 0)
        return False

    def no_more(self):
        return self.used == set(self.all)


@pytest.mark.parametrize("kind", [NSEC3, OPT_OUT], ids=["nsec3", "opt-out"])
def test_answers_prove_what_they_say(tmp_path, run, kind):
    path = str(tmp_path / "zone")
    write_zone(path, 1, 60)
    server = run(Signet, tmp_path, configure({"name": "token", "type": "file"}, path, **kind))
    opt_out = kind is OPT_OUT

    def proof(name, rdtype, rcode=0):
        reply = ask(server, f"{name}.{ZONE}", rdtype)
        # Cold ones too are signed.
        if any(r.rdtype == dns.rdatatype.SOA for r in reply.authority) or reply.answer:
            assert_signed(reply, rcode)
        assert reply.rcode() == rcode
        return Proof(reply)

    # A name that is not there: closest encloser, next closer, wildcard.
    p = proof("a.b.nothing", "A", 3)
    assert "SOA" in p.types(ZONE) and p.covers(f"nothing.{ZONE}", opt_out) and p.covers(f"*.{ZONE}", opt_out)
    assert p.no_more()
    p = proof("x.under.ent", "A", 3)
    assert p.types(f"under.ent.{ZONE}") == set() and p.covers(f"x.under.ent.{ZONE}", opt_out)
    assert p.covers(f"*.under.ent.{ZONE}", opt_out) and p.no_more()
    # A name whose hash is a name of the chain is not one of the zone (7.2.8).
    p = proof(hashed(f"h000001.{ZONE}"), "A", 3)
    assert "SOA" in p.types(ZONE) and p.covers(f"{hashed(f'h000001.{ZONE}')}.{ZONE}", opt_out)
    # No data: at a name, at empty non-terminals.
    p = proof("h000001", "TXT")
    assert p.types(f"h000001.{ZONE}") == {"A", "RRSIG"} and p.no_more()
    for name in ("ent", "under.ent"):
        p = proof(name, "A")
        assert p.types(f"{name}.{ZONE}") == set() and p.no_more()
    # Wildcards: an answer needs the next closer name only; no data the wildcard's types, too.
    p = proof("some.wild", "TXT")
    assert p.covers(f"some.wild.{ZONE}", opt_out) and p.no_more()
    p = proof("some.wild", "MX")
    assert p.types(f"wild.{ZONE}") == set() and p.covers(f"some.wild.{ZONE}", opt_out)
    assert p.types(f"*.wild.{ZONE}") == {"TXT", "RRSIG"} and p.no_more()
    # Delegations, and DS at them: without DS the chain says so, or with opt-out nothing of the name.
    assert not proof("x.cut0", "A").all
    for name, rdtype in (("x.cut1", "A"), ("cut1", "DS")):
        p = proof(name, rdtype)
        if opt_out:
            assert "SOA" in p.types(ZONE) and p.covers(f"cut1.{ZONE}", True) and p.types(f"cut1.{ZONE}") is None
        else:
            assert p.types(f"cut1.{ZONE}") == {"NS"}
        assert p.no_more()
    reply = ask(server, f"cut0.{ZONE}", "DS")
    assert_signed(reply, 0)
    assert not Proof(reply).all


# From one chain to another.

QUESTIONS = ("h%06d A", "x%06d A", "h%06d TXT", "n%d.wild TXT", "n%d.wild MX", "ent A", "under.ent A", "n%d.ent A",
             "cut%d DS", "cut%d A", "cname MX", " MX", " NSEC3PARAM", " DNSKEY")


class Asker(threading.Thread):
    """Asks without end; what it was not content with is in 'wrong'."""

    def __init__(self, validator, server, names, seed):
        super().__init__()
        self.validator, self.server, self.names = validator, server, names
        self.rng = random.Random(seed)
        self.over = threading.Event()
        self.asked, self.wrong, self.kinds = 0, [], set()

    def question(self):
        text = self.rng.choice(QUESTIONS)
        if "%" in text:
            text = text % self.rng.randrange(self.names // 10 if "cut" in text else self.names)
        label, rdtype = text.split(" ")
        return (f"{label}.{ZONE}" if label else ZONE), rdtype

    def look(self, name, rdtype):
        reply = ask(self.server, name, rdtype)
        proofs = {r.rdtype for r in reply.authority} & {dns.rdatatype.NSEC, dns.rdatatype.NSEC3}
        self.kinds |= proofs
        flags = {rd.flags for r in reply.authority if r.rdtype == dns.rdatatype.NSEC3 for rd in r}
        if len(proofs) > 1 or len(flags) > 1 or reply.rcode() not in (0, 3):
            self.wrong.append(reply.to_text())
        elif rdtype != "A" or not name.startswith("cut"):
            # But for the delegations, nobody is at the other end of which.
            reply = ask(self.validator, name, rdtype)
            secure = reply.flags & dns.flags.AD or 1 in flags
            if reply.rcode() not in (0, 3) or not (secure or self.opt_out(reply)):
                self.wrong.append(reply.to_text())

    def opt_out(self, reply):
        """May that one be insecure? The zone may have opted out since it was asked."""
        return denial(self.server) == OPT_OUT or any(
            rd.flags for r in reply.authority if r.rdtype == dns.rdatatype.NSEC3 for rd in r)

    def run(self):
        while not self.over.is_set() and len(self.wrong) < 10:
            try:
                self.look(*self.question())
            except Exception as e:  # noqa: BLE001
                self.wrong.append(repr(e))
            self.asked += 1


@pytest.mark.parametrize("signing", ["online", "eager"])
def test_a_zone_changes_its_chain_while_it_is_asked(tmp_path, token, run, seed, signing):
    path = str(tmp_path / "zone")
    names = 400
    write_zone(path, 1, names)
    server = run(Signet, tmp_path, configure(token.keystore(), path, signing=signing), env=token.env)
    server.wait_complete(ZONE)
    extra = "  cache-max-ttl: 1\n  cache-max-negative-ttl: 1\n  domain-insecure: \"example\"\n"
    validator = run(Unbound, str(tmp_path), {ZONE: server.port}, anchors(server, [ZONE]), extra)
    validator.wait_ready([ZONE])
    askers = [Asker(validator, server, names, seed + i) for i in range(3)]
    for asker in askers:
        asker.start()
    try:
        last = serial(server)
        # Secure ones last: a validator's cache never knows more than one opted-out chain.
        for step, kind in enumerate((NSEC3, NSEC, NSEC3, OPT_OUT, NSEC3, OPT_OUT, NSEC)):
            set_policy(server, **kind)
            if step % 2 == 0:
                server.ctl("zone", "reload")
            else:
                server.child.send_signal(signal.SIGHUP)
            wait_for(lambda: denial(server) == kind, timeout=60, what=f"{kind}")
            assert serial(server) > last
            last = serial(server)
            # Edits before and after: the chain is kept.
            write_zone(path, 2 + step, names + step)
            server.ctl("zone", "reload", ZONE)
            more = [a.asked + 60 for a in askers]
            wait_for(lambda: all(a.asked > m or not a.is_alive() for a, m in zip(askers, more)), timeout=120,
                     what="questions")
            verify(tmp_path, server.wait_complete(ZONE))
    finally:
        for asker in askers:
            asker.over.set()
        for asker in askers:
            asker.join()
    wrong = [w for a in askers for w in a.wrong]
    assert not wrong, "\n\n".join(wrong[:5])
    assert set().union(*(a.kinds for a in askers)) == {dns.rdatatype.NSEC, dns.rdatatype.NSEC3}
    bogus = [line for line in validator.text().splitlines() if "validation failure" in line]
    assert not bogus, "\n".join(bogus[:20])


def hide(token):
    os.rename(os.path.join(token.folder, "tokens"), os.path.join(token.folder, "elsewhere"))
    os.mkdir(os.path.join(token.folder, "tokens"))


def bring_back(token):
    os.rmdir(os.path.join(token.folder, "tokens"))
    os.rename(os.path.join(token.folder, "elsewhere"), os.path.join(token.folder, "tokens"))


def test_a_restart_signs_nothing(tmp_path, run):
    token = Token(tmp_path)
    path = str(tmp_path / "zone")
    write_zone(path, 1, 300)
    server = run(Signet, tmp_path, configure(token.keystore(), path, **NSEC3), env=token.env)
    text = server.wait_complete(ZONE)
    before = serial(server)
    for dead in (False, True):
        assert server.stop() == 0, server.text()
        if dead:
            hide(token)
        server.run()
        after = server.wait_complete(ZONE)
        assert serial(server) == before
        assert rrsigs(after) == rrsigs(text)
        assert made(server) <= 2
        assert denial(server) == NSEC3
        assert_signed(ask(server, f"x.{ZONE}"), 3)
    verify(tmp_path, after)


@pytest.mark.parametrize("first, then", [(NSEC, NSEC3), (OPT_OUT, NSEC), (NSEC3, OPT_OUT)],
                         ids=["to-nsec3", "to-nsec", "to-opt-out"])
def test_a_restart_serves_what_is_signed(tmp_path, run, first, then):
    """Another denial is asked for while the server is down, and so is the keystore: the old chain is served, and the new one
    once it can be signed."""
    token = Token(tmp_path)
    path = str(tmp_path / "zone")
    write_zone(path, 1, 200)
    server = run(Signet, tmp_path, configure(token.keystore(), path, **first), env=token.env)
    text = server.wait_complete(ZONE)
    before = serial(server)
    assert server.stop() == 0, server.text()
    hide(token)
    set_policy(server, **then)
    server.run()
    assert denial(server) == first
    assert serial(server) == before
    assert rrsigs(server.wait_complete(ZONE)) == rrsigs(text)
    wait_for(lambda: "signing waits" in server.text(), timeout=60, what="a try to sign the new chain")
    for i in range(0, 200, 7):
        assert_signed(ask(server, f"h{i:06}x.{ZONE}"), 3)
    assert denial(server) == first

    # The server need not be told that the token is back.
    bring_back(token)
    wait_for(lambda: denial(server) == then, timeout=120, what="the new chain")
    text = server.wait_complete(ZONE)
    verify(tmp_path, text)
    assert serial(server) > before
    assert server.stop() == 0, server.text()
    server.run()
    assert denial(server) == then
    assert rrsigs(server.wait_complete(ZONE)) == rrsigs(text)
    assert made(server) <= 2


def test_kill_while_a_chain_is_made(tmp_path, run, seed):
    """At any moment, one chain or the other is there, whole."""
    rng = random.Random(seed)
    token = Token(tmp_path)
    path = str(tmp_path / "zone")
    names = 1500
    write_zone(path, 1, names)
    server = run(Signet, tmp_path, configure(token.keystore(), path), env=token.env)
    server.wait_complete(ZONE)
    kind = NSEC
    for _ in range(5):
        wanted = rng.choice([k for k in (NSEC, NSEC3, OPT_OUT) if k is not kind])
        set_policy(server, **wanted)
        server.ctl("zone", "reload")
        least = made(server) + rng.randrange(1, 2 * names)
        wait_for(lambda: made(server) >= least or denial(server) == wanted, timeout=120, what="signatures")
        last = serial(server)
        server.stop(signal.SIGKILL)
        server.run()
        assert serial(server) >= last
        kind = denial(server)
        for i in range(0, names, 97):
            assert_signed(ask(server, f"h{i:06}x.{ZONE}"), 3)
        wait_for(lambda: denial(server) == wanted, timeout=120, what=f"{wanted}")
        verify(tmp_path, server.wait_complete(ZONE))
        kind = wanted


def slow_change(tmp_path, run, token, names):
    """A zone that is changing to NSEC3, some of whose signatures are made; and how many signatures there were before."""
    wrapped = Wrapped(str(tmp_path), token)
    path = str(tmp_path / "zone")
    write_zone(path, 1, names)
    server = run(Signet, tmp_path, configure({**token.keystore(), "module": P11WRAP}, path), env=wrapped.env)
    server.wait_complete(ZONE)
    before = made(server)
    set_policy(server, **NSEC3)
    server.child.send_signal(signal.SIGHUP)
    wait_for(lambda: made(server) > before + 200, timeout=60, what="some of the new chain")
    return server, wrapped, path, before


def chain_length(text):
    return len(chain(text)[0])


def test_an_edit_need_not_wait_for_a_chain(tmp_path, run, token):
    names = 1800
    server, wrapped, path, before = slow_change(tmp_path, run, token, names)
    wrapped.rule("C_Sign hold 0")
    assert denial(server) == NSEC
    write_zone(path, 2, names + 1)
    with subprocess.Popen([SIGNETCTL, "-c", server.conf_path, "zone", "reload", ZONE]) as ctl:
        wait_for(lambda: "waits for other changes" in server.text(), what="the change makes way")
        wrapped.rule("")
        assert ctl.wait(60) == 0
    assert denial(server) == NSEC
    assert_signed(ask(server, f"h{names:06}.{ZONE}"), 0)
    wait_for(lambda: denial(server) == NSEC3, timeout=120, what="NSEC3")
    text = server.wait_complete(ZONE)
    verify(tmp_path, text)
    # The chain, two that the edit changed in it, the edit's own and some that were under way; not from the beginning.
    assert made(server) - before < chain_length(text) + 100


def test_a_chain_goes_on_where_the_keystore_failed(tmp_path, run, token):
    names = 1800
    server, wrapped, _, before = slow_change(tmp_path, run, token, names)
    wrapped.rule("C_Sign rv 0x30")
    assert denial(server) == NSEC
    wait_for(lambda: "signing waits" in server.text(), timeout=60, what="the fault")
    assert denial(server) == NSEC
    wrapped.rule("")
    wait_for(lambda: denial(server) == NSEC3, timeout=120, what="NSEC3")
    text = server.wait_complete(ZONE)
    verify(tmp_path, text)
    assert made(server) - before < chain_length(text) + 100


def test_a_configuration_that_cannot_be_read_changes_nothing(tmp_path, run):
    path = str(tmp_path / "zone")
    write_zone(path, 1, 20)
    server = run(Signet, tmp_path, configure({"name": "token", "type": "file"}, path))
    server.wait_complete(ZONE)
    with open(server.conf_path, "a") as f:
        f.write("nonsense: true\n")
    server.child.send_signal(signal.SIGHUP)
    wait_for(lambda: "policies stay as they are" in server.text(), what="the log's word")
    assert denial(server) == NSEC
    assert "nonsense" in server.text()


def test_a_zone_of_long_name_is_refused(tmp_path, run):
    path = str(tmp_path / "zone")
    write_zone(path, 1, 1)
    long = ".".join(["x" * 55] * 4)
    conf = configure({"name": "token", "type": "file"}, path, **NSEC3)
    conf["zones"].append({"name": long, "file": path, "policy": "default"})
    server = run(Signet, tmp_path, conf)
    assert denial(server) == NSEC3
    wait_for(lambda: "its name is too long for NSEC3" in server.text(), what="the log's word")
