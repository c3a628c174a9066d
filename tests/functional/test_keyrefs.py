"""Keys that the operator names, shares, imports and deletes."""

import glob
import os
import re
import subprocess

import dns.flags
import dns.rcode
import dns.rdatatype
import pytest

from daemon import PIN, SIGNETCTL, SIGNETD, Signet, softhsm_module
from kms import Kms, Tls
from peers import Unbound
from procs import program, wait_for

ZONES = ["one.example", "two.example"]


def write_zone(path, serial=1):
    with open(path + ".new", "w") as f:
        f.write(f"$TTL 300\n@ SOA ns h {serial} 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\nwww A 192.0.2.2\n")
    os.rename(path + ".new", path)


def start(run, folder, keystores, keys, names=ZONES, env=None, wait=True):
    """One policy with these keys for all the zones."""
    folder = str(folder)
    os.makedirs(folder, exist_ok=True)
    zones = []
    for name in names:
        path = os.path.join(folder, name + ".zone")
        if not os.path.exists(path):
            write_zone(path)
        zones.append({"name": name, "file": path, "policy": "mail"})
    conf = {"keystores": keystores, "policies": [{"name": "mail", **keys}], "zones": zones}
    return run(Signet, folder, conf, env=env, wait=wait)


def keys_of(server, zone):
    return {k["role"]: k for k in server.ctl_json("key", "list", zone)["keys"]}


def point(server, zone, flags):
    answer = server.ask(zone + ".", "DNSKEY", do=True)
    return [r.key for rs in answer.answer if rs.rdtype == dns.rdatatype.DNSKEY for r in rs if r.flags == flags]


def validates(run, folder, server, zones):
    """unbound, with the DS that the server gives as its anchors."""
    anchors = [f"{zone}. DS {ds}" for zone in zones for ds in server.ds(zone)]
    os.makedirs(folder, exist_ok=True)
    peer = run(Unbound, str(folder), {zone: server.port for zone in zones}, anchors).wait_ready(zones)
    for zone in zones:
        for name, rcode in (("www", dns.rcode.NOERROR), ("none", dns.rcode.NXDOMAIN)):
            reply = peer.ask(f"{name}.{zone}.", "A", do=True)
            assert reply.rcode() == rcode and reply.flags & dns.flags.AD, reply


# AWS KMS


@pytest.fixture
def tls(tmp_path):
    return Tls(tmp_path)


@pytest.fixture
def kms(tls):
    with Kms(tls=tls) as service:
        yield service


def cloud(kms, tls):
    return [{"name": "cloud", "type": "aws-kms", "region": kms.region, "endpoint": kms.url, "ca-file": tls.ca, "sessions": 2},
            {"name": "local", "type": "file"}]


def aws_env(kms, folder):
    return {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(folder), **kms.allow()}


def make_aws_key(kms, alias=None):
    arn = kms.op_CreateKey({"KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"})["KeyMetadata"]["Arn"]
    if alias:
        kms.op_CreateAlias({"AliasName": alias, "TargetKeyId": arn})
    return arn


def test_an_alias_for_two_zones(run, tmp_path, kms, tls):
    folder = tmp_path / "s"
    arn = make_aws_key(kms, "alias/mail")
    keys = {"ksk": {"keystore": "cloud", "key": "alias/mail"}, "zsk": {"keystore": "local"}}
    server = start(run, folder, cloud(kms, tls), keys, env=aws_env(kms, tmp_path))
    for zone in ZONES:
        server.wait_complete(zone)
    got = [keys_of(server, zone) for zone in ZONES]
    assert [k["ksk"]["id"] for k in got] == [arn, arn] and got[0]["ksk"]["origin"] == "named"
    assert got[0]["ksk"]["tag"] == got[1]["ksk"]["tag"]
    assert got[0]["zsk"]["id"] != got[1]["zsk"]["id"] and got[0]["zsk"]["origin"] == "own"
    assert point(server, ZONES[0], 257) == point(server, ZONES[1], 257)
    assert len(kms.keys) == 1
    # Found and proven once for both; the other signatures are those of the DNSKEY, CDS and CDNSKEY sets.
    assert kms.requests["DescribeKey"] == 1 and kms.requests["GetPublicKey"] == 1
    validates(run, tmp_path / "u", server, ZONES)
    # The alias moves: nothing changes, and both are told of.
    other = make_aws_key(kms)
    kms.op_UpdateAlias({"AliasName": "alias/mail", "TargetKeyId": other})
    server.restart()
    for zone in ZONES:
        server.wait_complete(zone)
        assert keys_of(server, zone)["ksk"]["id"] == arn
        assert re.search(f"warning: zone {zone}.*'alias/mail' names {other} now.*which is {arn}", server.text())
    checked = server.ctl("keystore", "check", "cloud")
    assert other in checked.stderr and arn in checked.stderr and "warning" in checked.stderr
    # Gone: the same.
    kms.op_DeleteAlias({"AliasName": "alias/mail"})
    server.restart()
    server.wait_complete(ZONES[0])
    assert "'alias/mail' names no key now" in server.text()
    assert server.ctl("keystore", "check", "cloud").returncode == 0
    # The other one named outright is a rollover, which does not happen yet.
    server.stop()
    keys["ksk"]["key"] = other
    server = start(run, folder, cloud(kms, tls), keys, env=aws_env(kms, tmp_path))
    assert "rolling over to another one is not supported yet" in server.text()
    assert server.ask(ZONES[0] + ".", "SOA").rcode() == dns.rcode.SERVFAIL
    server.stop()
    # What is on record, named by its own name.
    for name in (arn, arn.rsplit("/", 1)[1]):
        keys["ksk"]["key"] = name
        server = start(run, folder, cloud(kms, tls), keys, env=aws_env(kms, tmp_path))
        server.wait_complete(ZONES[0])
        server.stop()
    assert len(kms.keys) == 2


def test_an_alias_of_nothing_makes_no_key(run, tmp_path, kms, tls):
    keys = {"csk": {"keystore": "cloud", "key": "alias/mail"}}
    server = start(run, tmp_path / "s", cloud(kms, tls), keys, names=ZONES[:1], env=aws_env(kms, tmp_path))
    wait_for(lambda: "no key is made in its place" in server.text(), what="the missing key is told of")
    checked = server.ctl("keystore", "check", "cloud", check=False)
    assert checked.returncode == 1 and "missing named" in " ".join(checked.stdout.split())
    done = subprocess.run([SIGNETD, "-c", server.conf_path, "--check"], capture_output=True, text=True, timeout=120,
                          env={**os.environ, **server.env})
    assert done.returncode == 1 and "alias/mail" in done.stderr
    assert not kms.keys
    # It comes up by itself once there is one.
    arn = make_aws_key(kms, "alias/mail")
    server.wait_complete(ZONES[0])
    assert keys_of(server, ZONES[0])["csk"]["id"] == arn
    assert list(k.arn for k in kms.keys.values()) == [arn]


def test_a_key_of_another_kind_is_refused(run, tmp_path, kms, tls):
    arn = kms.op_CreateKey({"KeySpec": "ECC_NIST_P384", "KeyUsage": "SIGN_VERIFY"})["KeyMetadata"]["Arn"]
    keys = {"csk": {"keystore": "cloud", "key": arn}}
    server = start(run, tmp_path / "s", cloud(kms, tls), keys, names=ZONES[:1], env=aws_env(kms, tmp_path))
    assert "not of ECC_NIST_P256" in server.text()
    assert server.ask(ZONES[0] + ".", "SOA").rcode() == dns.rcode.SERVFAIL


@pytest.mark.parametrize("serving", [True, False])
def test_a_key_there_is_deleted_in_days(run, tmp_path, kms, tls, serving):
    used, unused = make_aws_key(kms, "alias/mail"), make_aws_key(kms)
    keys = {"ksk": {"keystore": "cloud", "key": "alias/mail"}, "zsk": {"keystore": "local"}}
    folder, env = tmp_path / "s", aws_env(kms, tmp_path)
    server = start(run, folder, cloud(kms, tls), keys, env=env)
    server.wait_complete(ZONES[0])
    server.wait_complete(ZONES[1])
    refused = server.ctl("keystore", "delete", "cloud", used, check=False)
    assert refused.returncode == 1 and "policy mail names this key, 'alias/mail', as its ksk" in refused.stderr
    # Named no more, it still is the zones'.
    server.stop()
    del keys["ksk"]["key"]
    server = start(run, folder, cloud(kms, tls), keys, env=env)
    server.wait_complete(ZONES[0])
    tag = keys_of(server, ZONES[0])["ksk"]["tag"]
    if not serving:
        server.stop()
    refused = server.ctl("keystore", "delete", "cloud", "alias/mail", check=False)
    assert refused.returncode == 1
    assert f"active ksk {tag} of one.example., and 1 zones more have it: a key in use is not deleted" in refused.stderr
    assert kms.requests["ScheduleKeyDeletion"] == 0
    # Who may sign need not be able to delete, and signs on.
    kms.rules.add("deny", "ScheduleKeyDeletion")
    refused = server.ctl("keystore", "delete", "cloud", unused, check=False)
    assert refused.returncode == 1 and "allow kms:ScheduleKeyDeletion on " + unused in refused.stderr
    kms.rules.clear()
    if serving:
        assert [k["state"] for k in server.ctl_json("keystore", "list")["keystores"] if k["name"] == "cloud"] == ["up"]
    assert server.ctl("keystore", "delete", "cloud", unused, "--days", "31", check=False).returncode == 2
    done = server.ctl("keystore", "delete", "cloud", unused, "--days", "9")
    assert unused in done.stdout and "cancel-key-deletion" in done.stdout
    key = [k for k in kms.keys.values() if k.arn == unused][0]
    assert key.state == "PendingDeletion"
    assert 8.9 * 86400 < key.deletion - kms.now() < 9.1 * 86400
    again = server.ctl("keystore", "delete", "cloud", unused, check=False)
    assert again.returncode == 1 and "disabled or to be deleted" in again.stderr
    assert [k.state for k in kms.keys.values() if k.arn == used] == ["Enabled"]
    if serving:
        assert re.search(f"keystore cloud: key {unused} is disabled.*asked to by control", server.text())


# PKCS#11


def pkcs11_tool(token, *args):
    done = subprocess.run([program("pkcs11-tool"), "--module", softhsm_module(), "--token-label", token.label, "--login",
                           "--pin", PIN, *args], capture_output=True, text=True, env={**os.environ, **token.env})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("isolate", [True, False])
def test_keys_of_a_token_by_label_and_id(run, tmp_path, token, isolate):
    pkcs11_tool(token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "the ksk", "--id", "a1")
    pkcs11_tool(token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "zsk", "--id", "b2c3")
    keystores = [{**token.keystore(), "isolate": isolate}]
    folder = tmp_path / "s"
    server = start(run, folder, keystores, {"ksk": {"keystore": "token", "key": "the ksk"},
                                            "zsk": {"keystore": "token", "key": "b2c3"}}, env=token.env)
    for zone in ZONES:
        server.wait_complete(zone)
        got = keys_of(server, zone)
        assert (got["ksk"]["id"], got["zsk"]["id"]) == ("A1", "B2C3")
        assert got["ksk"]["origin"] == got["zsk"]["origin"] == "named"
    assert "named" in server.ctl("key", "list", ZONES[0]).stdout
    validates(run, tmp_path / "u", server, ZONES)
    server.stop()
    # The same by URIs.
    server = start(run, folder, keystores, {"ksk": {"keystore": "token", "key": "pkcs11:object=the%20ksk"},
                                            "zsk": {"keystore": "token", "key": "pkcs11:id=%b2%c3;type=private"}},
                   env=token.env)
    server.wait_complete(ZONES[0])
    assert "warning" not in server.text().split("one.example", 1)[1]
    server.stop()
    # Two of one label: which one is meant is not guessed. The zones go on, a new one does not load.
    pkcs11_tool(token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "zsk", "--id", "d4")
    server = start(run, folder, keystores, {"ksk": {"keystore": "token", "key": "pkcs11:object=the%20ksk"},
                                            "zsk": {"keystore": "token", "key": "zsk"}},
                   names=["three.example"], env=token.env)
    wait_for(lambda: "has 2 keys with label zsk: name one by its id" in server.text(), what="two keys of one name")
    assert server.ask("three.example.", "SOA").rcode() == dns.rcode.SERVFAIL


def test_twenty_zones_share_one_key(run, tmp_path, token):
    names = [f"z{i}.example" for i in range(20)]
    keys = {"ksk": {"keystore": "token", "shared": True}, "zsk": {"keystore": "token", "shared": True}}
    folder = tmp_path / "s"
    server = start(run, folder, [token.keystore()], keys, names=names, env=token.env)
    for zone in names:
        server.wait_complete(zone)
    got = [keys_of(server, zone) for zone in names]
    for role in ("ksk", "zsk"):
        assert len({k[role]["id"] for k in got}) == 1 and {k[role]["origin"] for k in got} == {"shared"}
    validates(run, tmp_path / "u", server, names[:3])
    # As many as there are, and over a crash and a zone more.
    server.child.kill()
    server.child.wait()
    server = start(run, folder, [token.keystore()], keys, names=[*names, "more.example"], env=token.env)
    server.wait_complete("more.example")
    assert keys_of(server, "more.example")["ksk"]["id"] == got[0]["ksk"]["id"]
    listed = subprocess.run([program("pkcs11-tool"), "--module", softhsm_module(), "--token-label", token.label, "--login",
                             "--pin", PIN, "--list-objects", "--type", "privkey"], capture_output=True, text=True,
                            env={**os.environ, **token.env}).stdout
    assert listed.count("Private Key Object") == 2, listed
    assert "policy:mail/ksk/" in listed and "policy:mail/zsk/" in listed
    # In use by many, and so not deleted.
    refused = server.ctl("keystore", "delete", "token", got[0]["ksk"]["id"], check=False)
    assert refused.returncode == 1 and "20 zones more have it" in refused.stderr


@pytest.mark.parametrize("serving", [True, False])
def test_a_key_in_a_token_is_deleted_for_good(run, tmp_path, token, serving):
    pkcs11_tool(token, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "old", "--id", "a1")
    server = start(run, tmp_path / "s", [token.keystore()], {"csk": {"keystore": "token"}}, names=ZONES[:1], env=token.env)
    server.wait_complete(ZONES[0])
    mine = keys_of(server, ZONES[0])["csk"]["id"]
    if not serving:
        server.stop()
    refused = server.ctl("keystore", "delete", "token", mine, check=False)
    assert refused.returncode == 1 and "a key in use is not deleted" in refused.stderr
    refused = server.ctl("keystore", "delete", "token", "old", "--days", "7", check=False)
    assert refused.returncode == 1 and "--days is for aws-kms" in refused.stderr
    assert "key A1 is deleted; this cannot be undone" in server.ctl("keystore", "delete", "token", "old").stdout
    refused = server.ctl("keystore", "delete", "token", "old", check=False)
    assert refused.returncode == 1 and "no private key with label old" in refused.stderr
    if serving:
        assert server.ask(ZONES[0] + ".", "SOA", do=True).answer
        server.stop()
    # Another server's state is not asked behind its back.
    held = subprocess.Popen(["flock", "-x", os.path.join(server.folder, "state", "lock"), "cat"], stdin=subprocess.PIPE)
    try:
        refused = wait_for(lambda: (lambda d: d if "another server uses it" in d.stderr else None)(
            server.ctl("keystore", "delete", "token", mine, check=False)), what="the lock is held")
        assert refused.returncode == 1
    finally:
        held.stdin.close()
        held.wait()


# Imported keys


def keygen(folder, zone, *args):
    done = subprocess.run([program("dnssec-keygen"), "-q", "-K", str(folder), *args, zone], check=True, capture_output=True,
                          text=True)
    return os.path.join(str(folder), done.stdout.strip())


def dnskeys(text):
    """(flags, key) of the DNSKEY records in a master file."""
    return {(int(m[1]), "".join(m[2].split())) for m in
            re.finditer(r"DNSKEY\s+(\d+) 3 13 \(?\s*([A-Za-z0-9+/\s]+==)", text)}


def import_key(server_conf, zone, file, *args, check=True):
    done = subprocess.run([SIGNETCTL, "-c", server_conf, "key", "import", zone, file, *args], capture_output=True, text=True,
                          timeout=120)
    if check:
        assert done.returncode == 0, done.stderr
    return done


LOCAL = [{"name": "local", "type": "file"}]


@pytest.mark.parametrize("serving", [True, False])
def test_a_zone_is_adopted_with_its_keys(run, tmp_path, serving):
    """Signed by BIND's tools before: the same DNSKEY set after, under the same DS."""
    zone, folder, old = "one.example", tmp_path / "s", tmp_path / "old"
    old.mkdir()
    ksk = keygen(old, zone, "-a", "ECDSAP256SHA256", "-f", "KSK")
    zsk = keygen(old, zone, "-a", "ECDSAP256SHA256")
    write_zone(str(old / "zone"), 7)
    subprocess.run([program("dnssec-signzone"), "-S", "-K", str(old), "-o", zone, "-f", str(old / "signed"),
                    str(old / "zone")], check=True, capture_output=True, cwd=old)
    ds = [line for line in subprocess.run([program("dnssec-dsfromkey"), "-2", ksk + ".key"], check=True, text=True,
                                          capture_output=True).stdout.splitlines() if " DS " in line]
    # A server that knows nothing of them yet; one that was never started will do as well.
    server = start(run, folder, LOCAL, {"csk": {"keystore": "local"}}, names=["two.example"])
    if not serving:
        server.stop()
    os.chmod(zsk + ".private", 0o644)
    first = import_key(server.conf_path, zone, ksk + ".private", "--keystore", "local")
    second = import_key(server.conf_path, zone + ".", zsk + ".key", "--keystore", "local", "--role", "zsk")
    assert "mode 0644" in second.stderr and "warning" in second.stderr and first.stderr == ""
    lines = [re.search(r"^ +([kz]sk): \{ keystore: local, key: \"([0-9A-F]{32})\" \}$", d.stdout, re.M)
             for d in (first, second)]
    assert [m[1] for m in lines] == ["ksk", "zsk"]
    for file in (ksk, zsk):
        number = re.search(r"PrivateKey: (\S+)", open(file + ".private").read())[1]
        for text in (first.stdout, first.stderr, second.stdout, second.stderr, server.text()):
            assert number not in text
    if serving:
        server.stop()
    keys = {m[1]: {"keystore": "local", "key": m[2]} for m in lines}
    server = start(run, folder, LOCAL, keys, names=[zone])
    dump = server.wait_complete(zone)
    assert len(dnskeys(dump)) == 2 and dnskeys(dump) == dnskeys(open(old / "signed").read())
    mine = " ".join(server.ds(zone)[0].split()).upper()
    assert mine == " ".join(ds[0].split(" DS ")[1].split()[:3]) + " " + "".join(ds[0].split(" DS ")[1].split()[3:])
    tmp_path.joinpath("u").mkdir()
    peer = run(Unbound, str(tmp_path / "u"), {zone: server.port}, [ds[0].replace(" IN DS ", " DS ")]).wait_ready([zone])
    reply = peer.ask(f"www.{zone}.", "A", do=True)
    assert reply.rcode() == dns.rcode.NOERROR and reply.flags & dns.flags.AD, reply
    assert {k["origin"] for k in keys_of(server, zone).values()} == {"named"}
    for path in glob.glob(str(folder / "state" / "keys" / "*.pem")):
        assert os.stat(path).st_mode & 0o777 == 0o600


def test_what_is_not_imported(run, tmp_path, token):
    folder, old, zone = tmp_path / "s", tmp_path / "old", "one.example"
    old.mkdir()
    server = start(run, folder, [*LOCAL, token.keystore()], {"csk": {"keystore": "local"}}, names=["two.example"],
                   env=token.env)
    ksk = keygen(old, zone, "-a", "ECDSAP256SHA256", "-f", "KSK")
    other = keygen(old, zone, "-a", "ECDSAP256SHA256", "-f", "KSK")
    ed25519 = keygen(old, zone, "-a", "ED25519")
    rsa = keygen(old, zone, "-a", "RSASHA256", "-b", "2048")
    before = os.listdir(folder / "state" / "keys")

    def refused(*args, status=1):
        done = import_key(server.conf_path, *args, check=False)
        assert done.returncode == status, done.stdout
        return done.stderr

    assert "algorithm 15, ED25519" in refused(zone, ed25519, "--keystore", "local")
    assert "algorithm 8, RSASHA256" in refused(zone, rsa, "--keystore", "local")
    assert "a key of one.example., not of two.example" in refused("two.example", ksk, "--keystore", "local")
    assert "flags 257 are not those of a zsk" in refused(zone, ksk, "--keystore", "local", "--role", "zsk")
    assert "--keystore is missing" in refused(zone, ksk, status=2)
    assert "no such keystore" in refused(zone, ksk, "--keystore", "lokal")
    assert "not brought into a device, only made in it" in refused(zone, ksk, "--keystore", "token")
    assert "No such file" in refused(zone, str(old / "none"), "--keystore", "local")
    os.rename(ksk + ".key", ksk + ".aside")
    assert ".key: No such file" in refused(zone, ksk, "--keystore", "local")
    with open(other + ".key") as f, open(ksk + ".key", "w") as g:
        g.write(f.read())
    assert "are of two keys" in refused(zone, ksk, "--keystore", "local")
    os.rename(ksk + ".aside", ksk + ".key")
    with open(ksk + ".private", "w") as f:
        f.write("x" * 20000)
    assert "too long" in refused(zone, ksk, "--keystore", "local")
    assert os.listdir(folder / "state" / "keys") == before
    # A csk by the operator's word, before the policy names it.
    done = import_key(server.conf_path, zone, other + ".", "--keystore", "local", "--role", "csk")
    assert 'csk: { keystore: local, key: "' in done.stdout
    # And away again: no zone has it.
    name = re.search(r"is key ([0-9A-F]+)", done.stdout)[1]
    assert "cannot be undone" in server.ctl("keystore", "delete", "local", name).stdout
    assert os.listdir(folder / "state" / "keys") == before
