"""The vendor's own client library talks to the stand-in for KMS: what signet is tested against is the real interface."""

import hashlib

import botocore.config
import botocore.exceptions
import botocore.session
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from kms import Kms, Tls


@pytest.fixture(params=["http", "https"])
def service(request, tmp_path):
    tls = Tls(tmp_path) if request.param == "https" else None
    with Kms(tls=tls) as kms:
        kms.ca = tls.ca if tls else None
        yield kms


def client(kms, secret=None, **kw):
    got = kms.allow()
    session = botocore.session.Session()
    return session.create_client(
        "kms", region_name=kw.pop("region", kms.region), endpoint_url=kms.url, verify=kms.ca or True,
        aws_access_key_id=kw.pop("key", got["AWS_ACCESS_KEY_ID"]),
        aws_secret_access_key=secret or got["AWS_SECRET_ACCESS_KEY"], **kw,
        config=botocore.config.Config(retries={"max_attempts": 0}, read_timeout=2, proxies={}))


def make(c, **kw):
    return c.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY", Description="a zone's",
                        Tags=[{"TagKey": "signet", "TagValue": "example.com./KSK"}], **kw)["KeyMetadata"]


def test_a_key_is_made_found_and_signs(service):
    c = client(service)
    meta = make(c)
    assert meta["Enabled"] and meta["KeySpec"] == "ECC_NIST_P256"
    c.create_alias(AliasName="alias/dns", TargetKeyId=meta["KeyId"])
    assert [a["TargetKeyId"] for a in c.list_aliases()["Aliases"]] == [meta["KeyId"]]
    digest = hashlib.sha256(b"x").digest()
    for name in (meta["KeyId"], meta["Arn"], "alias/dns", meta["Arn"].rsplit(":", 1)[0] + ":alias/dns"):
        public = c.get_public_key(KeyId=name)
        assert public["KeyId"] == meta["Arn"]
        key = serialization.load_der_public_key(public["PublicKey"])
        signed = c.sign(KeyId=name, Message=digest, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")
        key.verify(signed["Signature"], digest, ec.ECDSA(utils.Prehashed(hashes.SHA256())))
    other = make(c)
    c.update_alias(AliasName="alias/dns", TargetKeyId=other["KeyId"])
    assert c.describe_key(KeyId="alias/dns")["KeyMetadata"]["Arn"] == other["Arn"]
    c.delete_alias(AliasName="alias/dns")
    assert error(c.describe_key, KeyId="alias/dns") == "NotFoundException"
    assert error(c.update_alias, AliasName="alias/dns", TargetKeyId=other["KeyId"]) == "NotFoundException"
    c.tag_resource(KeyId=meta["KeyId"], Tags=[{"TagKey": "more", "TagValue": "1"}])
    assert {t["TagKey"] for t in c.list_resource_tags(KeyId=meta["KeyId"])["Tags"]} == {"signet", "more"}


def error(call, *args, **kw):
    with pytest.raises(botocore.exceptions.ClientError) as e:
        call(*args, **kw)
    return e.value.response["Error"]["Code"]


def test_errors_have_their_names(service):
    c = client(service)
    meta = make(c)
    sign = {"KeyId": meta["KeyId"], "Message": b"0" * 32, "MessageType": "DIGEST", "SigningAlgorithm": "ECDSA_SHA_256"}
    assert error(c.describe_key, KeyId="alias/none") == "NotFoundException"
    assert error(c.get_public_key, KeyId="00000000-0000-0000-0000-000000000000") == "NotFoundException"
    assert error(c.sign, **{**sign, "Message": b"short"}) == "ValidationException"
    c.disable_key(KeyId=meta["KeyId"])
    assert error(c.sign, **sign) == "DisabledException"
    assert error(c.schedule_key_deletion, KeyId=meta["KeyId"], PendingWindowInDays=6) == "ValidationException"
    going = c.schedule_key_deletion(KeyId=meta["KeyId"], PendingWindowInDays=7)
    assert going["KeyId"] == meta["Arn"] and going["KeyState"] == "PendingDeletion" and going["DeletionDate"]
    assert error(c.schedule_key_deletion, KeyId=meta["KeyId"], PendingWindowInDays=7) == "KMSInvalidStateException"
    assert error(c.sign, **sign) == "KMSInvalidStateException"
    c.cancel_key_deletion(KeyId=meta["KeyId"])
    c.enable_key(KeyId=meta["KeyId"])
    c.sign(**sign)
    service.rules.add("deny", "Sign")
    assert error(c.sign, **sign) == "AccessDeniedException"
    service.rules.clear()
    service.rules.add("error", "Sign", times=1, name="ThrottlingException")
    assert error(c.sign, **sign) == "ThrottlingException"
    c.sign(**sign)


def test_signatures_of_requests_are_checked(service):
    meta = make(client(service))
    assert error(client(service, secret="another").describe_key, KeyId=meta["KeyId"]) == "InvalidSignatureException"
    assert error(client(service, key="AKIDNOBODY").describe_key, KeyId=meta["KeyId"]) == "UnrecognizedClientException"
    assert error(client(service, region="eu-west-1").describe_key, KeyId=meta["KeyId"]) == "InvalidSignatureException"
    assert error(client(service, aws_session_token="t").describe_key, KeyId=meta["KeyId"]) == \
        "UnrecognizedClientException"
    service.skew_s = 900
    assert error(client(service).describe_key, KeyId=meta["KeyId"]) == "InvalidSignatureException"
    service.skew_s = 0
    lent = service.allow("ASIALENT", "secret", "token", service.now() - 1)
    assert error(client(service, key="ASIALENT", secret="secret", aws_session_token=lent["AWS_SESSION_TOKEN"]).describe_key,
                 KeyId=meta["KeyId"]) == "ExpiredTokenException"


def test_it_can_hang(service):
    c = client(service)
    meta = make(c)
    service.rules.add("hang", "DescribeKey", times=1, s=5)
    with pytest.raises(botocore.exceptions.ReadTimeoutError):
        c.describe_key(KeyId=meta["KeyId"])
    service.rules.clear()
    assert c.describe_key(KeyId=meta["KeyId"])["KeyMetadata"]["KeyId"] == meta["KeyId"]


def lent_by(monkeypatch, **env):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    return botocore.session.Session().get_credentials().get_frozen_credentials()


def test_roles_lend_credentials(monkeypatch, tmp_path):
    with Kms() as kms:
        kms.lend()
        kms.container_token = "Basic abc"
        monkeypatch.setenv("HOME", str(tmp_path))
        got = lent_by(monkeypatch, AWS_CONTAINER_CREDENTIALS_FULL_URI=kms.url + "/container",
                      AWS_CONTAINER_AUTHORIZATION_TOKEN="Basic abc")
        assert got.access_key == kms.lent[0] and got.token == kms.lent[2]
        monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
        got = lent_by(monkeypatch, AWS_EC2_METADATA_SERVICE_ENDPOINT=kms.url)
        assert got.access_key == kms.lent[0] and got.token == kms.lent[2]
