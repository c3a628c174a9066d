"""A KSK in AWS KMS, as the stand-in plays it: signed zones, a handful of requests, and every way it can fail."""

import os
import time

import dns.rcode
import pytest

from kms import Kms, Tls
from procs import wait_for
from daemon import Signet

ZONE = """$ORIGIN example.com.
$TTL 300
@ SOA ns1 hostmaster 1 7200 3600 1209600 300
@ NS ns1
ns1 A 192.0.2.1
www A 192.0.2.2
"""


@pytest.fixture
def tls(tmp_path):
    return Tls(tmp_path)


@pytest.fixture
def kms(tls):
    with Kms(tls=tls) as service:
        yield service


def start(run, folder, kms, tls, env=None, wait=True, **kw):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "example.com.zone"), "w") as f:
        f.write(ZONE)
    keystore = {"name": "cloud", "type": "aws-kms", "region": kms.region, "endpoint": kms.url, "ca-file": tls.ca,
                "sessions": 2, **kw}
    conf = {"keystores": [keystore, {"name": "local", "type": "file"}],
            "policies": [{"name": "default", "ksk": {"keystore": "cloud"}, "zsk": {"keystore": "local"}}],
            "zones": [{"name": "example.com", "file": "example.com.zone", "policy": "default"}]}
    env = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(folder), **(kms.allow() if env is None else env)}
    return run(Signet, folder, conf, env=env, wait=wait)


def keystore(server, name="cloud"):
    return [k for k in server.ctl_json("status")["keystores"] if k["name"] == name][0]


def says(server, *words, timeout=40):
    """Until the keystore's last fault has all these words."""
    def said():
        detail = keystore(server)["detail"] or ""
        return all(w in detail for w in words) and detail
    return wait_for(said, timeout, f"{words} in {keystore(server)}")


def signed(server, qname="www.example.com.", qtype="A"):
    answer = server.ask(qname, qtype, do=True)
    assert answer.rcode() == dns.rcode.NOERROR
    return any(r.rdtype == dns.rdatatype.RRSIG for r in answer.answer)


def test_a_ksk_there_costs_a_handful_of_requests(run, tmp_path, kms, tls):
    server = start(run, tmp_path / "s", kms, tls)
    server.wait_complete("example.com")
    made = list(kms.keys.values())
    assert len(made) == 1 and made[0].tags["signet"].startswith("example.com.")
    before = sum(kms.requests.values())
    assert before <= 8, kms.requests
    for i in range(300):
        assert signed(server) and server.ask(f"no{i}.example.com.", "A", do=True).rcode() == dns.rcode.NXDOMAIN
    assert signed(server, "example.com.", "DNSKEY")
    assert sum(kms.requests.values()) == before
    assert keystore(server)["requests"] == before
    # Started again it finds its key, proves it, and signs nothing anew.
    server.restart()
    server.wait_complete("example.com")
    assert len(kms.keys) == 1
    assert sum(kms.requests.values()) - before <= 2, kms.requests


FAULTS = {
    "denied": (lambda k: k.rules.add("deny", "Sign"), ("AccessDenied", "allow kms:Sign on arn:aws:kms:")),
    "throttled": (lambda k: k.rules.add("error", "Sign", name="ThrottlingException"), ("Throttling", "'rate'")),
    "unavailable": (lambda k: k.rules.add("error", "*", name="KMSInternalException", status=500),
                    ("KMSInternalException",)),
    "bad gateway": (lambda k: k.rules.add("html", "*", status=502), ("HTTP status 502",)),
    "a hotel": (lambda k: k.rules.add("html", "*"), ("not JSON",)),
    "huge": (lambda k: k.rules.add("huge", "*"), ("too long",)),
    "reset": (lambda k: k.rules.add("reset", "*"), ("127.0.0.1",)),
    "cut": (lambda k: k.rules.add("cut", "*"), ("127.0.0.1",)),
    "hang": (lambda k: k.rules.add("hang", "*"), ("127.0.0.1", "imed out")),
    "drip": (lambda k: k.rules.add("drip", "*", s=10), ("127.0.0.1", "imed out")),
    "skew": (lambda k: setattr(k, "skew_s", 4000), ("clock is", "behind")),
    "refused": (lambda k: k.credentials.clear(), ("UnrecognizedClient", "the environment", "renew")),
}


def heal(kms):
    kms.rules.clear()
    kms.skew_s = 0
    kms.allow()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_and_heals(run, tmp_path, kms, tls, fault):
    """At the first start, with no key yet; then it comes up by itself."""
    spoil, words = FAULTS[fault]
    env = kms.allow()
    spoil(kms)
    if fault in ("denied", "throttled"):
        kms.rules.add(kms.rules.list[0]["what"], "CreateKey", name="ThrottlingException")
        words = tuple(w.replace("kms:Sign on arn:aws:kms:", "kms:CreateKey on *") for w in words)
    server = start(run, tmp_path / "s", kms, tls, env=env)
    says(server, *words)
    heal(kms)
    server.wait_complete("example.com")
    assert keystore(server)["detail"] in ("", None)


@pytest.mark.parametrize("operation", ["GetPublicKey", "Sign"])
def test_a_key_that_cannot_be_used_yet_is_the_last_made(run, tmp_path, kms, tls, operation):
    """Each one is paid for, and the rights come when a person gives them."""
    kms.rules.add("deny", operation)
    server = start(run, tmp_path / "s", kms, tls)
    wait_for(lambda: kms.requests[operation] >= 4, 60, "some tries")
    says(server, "AccessDenied", f"allow kms:{operation}")
    assert kms.requests["CreateKey"] == 1
    heal(kms)
    server.wait_complete("example.com")
    assert len(kms.keys) == 1


def test_a_useless_key_that_a_person_deleted_is_not_waited_for(run, tmp_path, kms, tls):
    kms.rules.add("deny", "Sign")
    start(run, tmp_path / "s", kms, tls)
    wait_for(lambda: kms.requests["Sign"] >= 2, 60, "some tries")
    next(iter(kms.keys.values())).state = "PendingDeletion"
    wait_for(lambda: len(kms.keys) == 2, 60, "another key")


def test_what_was_signed_is_served_while_it_is_away(run, tmp_path, kms, tls):
    server = start(run, tmp_path / "s", kms, tls)
    server.wait_complete("example.com")
    kms.rules.add("reset")
    server.restart()
    for name, kind in (("example.com.", "DNSKEY"), ("www.example.com.", "A"), ("example.com.", "SOA")):
        assert signed(server, name, kind)
    says(server, "127.0.0.1")
    heal(kms)
    wait_for(lambda: keystore(server)["state"] == "up", 60, "keystore up")


@pytest.mark.parametrize("state", ["Disabled", "PendingDeletion"])
def test_a_key_that_may_not_be_used_is_named(run, tmp_path, kms, tls, state):
    server = start(run, tmp_path / "s", kms, tls)
    server.wait_complete("example.com")
    key = next(iter(kms.keys.values()))
    key.state = state
    server.restart()
    wait_for(lambda: key.arn in server.text() and "is disabled or to be deleted" in server.text(), 30, "the key named")
    assert signed(server, "example.com.", "DNSKEY")
    key.state = "Enabled"


def test_a_wrong_signature_never_gets_out(run, tmp_path, kms, tls):
    kms.rules.add("other-key", "Sign")
    server = start(run, tmp_path / "s", kms, tls)
    wait_for(lambda: "does not verify" in server.text(), 30, "the proof to fail")
    assert server.ask("www.example.com.", "A").rcode() == dns.rcode.SERVFAIL
    heal(kms)
    server.ctl("zone", "reload", "example.com")
    server.wait_complete("example.com")


def test_an_untrusted_certificate_is_refused(run, tmp_path, kms, tls):
    other = tmp_path / "other"
    other.mkdir()
    server = start(run, tmp_path / "s", kms, Tls(other))
    says(server, "127.0.0.1", "certificate")
    assert not kms.requests


def sources(kms, folder):
    """Where credentials may be, each as the environment that says so."""
    kms.lend()
    given = kms.allow("AKIDFILE", "secret-of-file")
    (folder / "credentials").write_text(
        f"[other]\naws_access_key_id = no\n\n[dns]\naws_access_key_id = {given['AWS_ACCESS_KEY_ID']}\n"
        f"aws_secret_access_key = {given['AWS_SECRET_ACCESS_KEY']}\n")
    (folder / "config").write_text(f"[profile dns]\nregion = x\ns3 =\n  max = 1\n[profile run]\n"
                                   f"credential_process = /bin/cat '{folder}/out put'\n")
    (folder / "out put").write_text('{"Version": 1, "AccessKeyId": "%s", "SecretAccessKey": "%s", "SessionToken": "%s"}'
                                    % kms.lent[:3])
    (folder / "identity").write_text("identity+/=\n")
    files = {"AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"), "AWS_CONFIG_FILE": str(folder / "config")}
    kms.container_token = "Basic xyz"
    return {
        "file": {**files, "AWS_PROFILE": "dns"},
        "process": {**files, "AWS_PROFILE": "run"},
        "web identity": {"AWS_WEB_IDENTITY_TOKEN_FILE": str(folder / "identity"), "AWS_ROLE_ARN": "arn:aws:iam::1:role/x",
                         "AWS_ENDPOINT_URL_STS": kms.url},
        "container": {"AWS_CONTAINER_CREDENTIALS_FULL_URI": kms.url + "/container",
                      "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Basic xyz"},
        "instance": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": kms.url, "AWS_EC2_METADATA_DISABLED": "false"},
    }


@pytest.mark.parametrize("source", ["file", "process", "web identity", "container", "instance"])
def test_credentials_come_from_each_source(run, tmp_path, kms, tls, source):
    server = start(run, tmp_path / "s", kms, tls, env=sources(kms, tmp_path)[source])
    server.wait_complete("example.com")
    assert signed(server, "example.com.", "DNSKEY")


def test_lent_credentials_are_renewed(run, tmp_path, kms, tls):
    env = sources(kms, tmp_path)["instance"]
    kms.lend(lifetime_s=600)      # less than what is renewed ahead: each start and each signature asks anew
    server = start(run, tmp_path / "s", kms, tls, env=env)
    server.wait_complete("example.com")
    first = kms.lent[0]
    kms.credentials.clear()       # the service knows only what it lends from now on
    kms.lend(lifetime_s=600)
    server.restart()
    server.wait_complete("example.com")
    wait_for(lambda: keystore(server)["state"] == "up", 30, "keystore up")
    assert kms.lent[0] != first


def test_without_credentials_it_says_where_it_looked(run, tmp_path, kms, tls):
    server = start(run, tmp_path / "s", kms, tls, env={})
    says(server, "no AWS credentials", "environment")
    assert not kms.requests


def test_its_own_rate_is_kept(run, tmp_path, kms, tls):
    begun = time.monotonic()
    server = start(run, tmp_path / "s", kms, tls, rate=1)
    server.wait_complete("example.com")
    # The proof and the sets that the KSK signs: n signatures take n - 1 seconds.
    assert time.monotonic() - begun >= kms.requests["Sign"] - 1
    assert kms.requests["Sign"] >= 2


def test_a_hanging_service_does_not_delay_the_end(run, tmp_path, kms, tls):
    kms.rules.add("hang", s=60)
    server = start(run, tmp_path / "s", kms, tls)
    wait_for(lambda: kms.requests, 30, "a request")
    begun = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - begun < 10


def test_a_name_that_may_not_be_looked_up_is_its_own_fault(run, tmp_path, kms, tls):
    """Rights are often given for one key: a policy that names another one takes no zone with it that signs."""
    folder = tmp_path / "s"
    os.makedirs(folder)
    for name in ("example.com", "other.test"):
        (folder / f"{name}.zone").write_text(ZONE.replace("example.com", name))
    kms.rules.add("deny", "DescribeKey")
    policies = [{"name": name, "ksk": {"keystore": "cloud", **key}, "zsk": {"keystore": "local"}}
                for name, key in (("default", {}), ("named", {"key": "alias/somebody-elses"}))]
    conf = {"keystores": [{"name": "cloud", "type": "aws-kms", "region": kms.region, "endpoint": kms.url, "ca-file": tls.ca},
                          {"name": "local", "type": "file"}],
            "policies": policies,
            "zones": [{"name": "example.com", "file": "example.com.zone", "policy": "default"},
                      {"name": "other.test", "file": "other.test.zone", "policy": "named"}]}
    server = run(Signet, folder, conf, env={"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(folder), **kms.allow()})
    server.wait_complete("example.com")
    wait_for(lambda: kms.requests["DescribeKey"] >= 2, 60, "another try")
    assert "kms:DescribeKey" in server.ctl("zone", "show", "other.test").stdout
    for serial in (2, 3):
        (folder / "example.com.zone").write_text(ZONE.replace("hostmaster 1", f"hostmaster {serial}"))
        server.ctl("zone", "reload", "example.com")
        assert keystore(server)["state"] == "up", keystore(server)
    server.wait_complete("example.com")
