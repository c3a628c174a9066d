"""AWS KMS as far as signet needs it, on loopback: checks signature version 4 of each request as the service does, speaks
its JSON, and misbehaves on demand. Beside it: the token service, and the metadata of containers and instances.

python3-botocore's own client accepts it (test_kms_standin.py)."""

import base64
import collections
import datetime
import hashlib
import hmac
import http.server
import json
import ssl
import subprocess
import threading
import time
import urllib.parse
import uuid

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from procs import program

ACCOUNT = "123456789012"
SKEW_S = 300
PENDING_DAYS = 30
STATES = {"Disabled": "DisabledException", "PendingDeletion": "KMSInvalidStateException"}


class Fault(Exception):
    """An error as the service gives it."""

    def __init__(self, name, message="", status=400):
        super().__init__(name)
        self.name, self.message, self.status = name, message, status


class Key:
    def __init__(self, region, spec, usage, description, tags):
        self.id = str(uuid.uuid4())
        self.arn = f"arn:aws:kms:{region}:{ACCOUNT}:key/{self.id}"
        self.spec, self.usage, self.description, self.tags = spec, usage, description, tags
        self.private = ec.generate_private_key(ec.SECP256R1() if spec == "ECC_NIST_P256" else ec.SECP384R1())
        self.state = "Enabled"
        self.deletion = None
        self.made = time.time()

    def spki(self):
        return self.private.public_key().public_bytes(serialization.Encoding.DER,
                                                      serialization.PublicFormat.SubjectPublicKeyInfo)

    def algorithms(self):
        return ["ECDSA_SHA_256"] if self.spec == "ECC_NIST_P256" else ["ECDSA_SHA_384"]

    def metadata(self):
        meta = {"AWSAccountId": ACCOUNT, "Arn": self.arn, "KeyId": self.id, "CreationDate": self.made,
                "Description": self.description, "Enabled": self.state == "Enabled", "KeyState": self.state,
                "KeyUsage": self.usage, "KeyManager": "CUSTOMER", "Origin": "AWS_KMS", "MultiRegion": False,
                "KeySpec": self.spec, "CustomerMasterKeySpec": self.spec, "SigningAlgorithms": self.algorithms()}
        if self.deletion:
            meta["DeletionDate"] = self.deletion
        return meta


def hmac_sha256(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def parse_authorization(text):
    """Credential, SignedHeaders and Signature of an Authorization header."""
    if not text.startswith("AWS4-HMAC-SHA256 "):
        raise Fault("IncompleteSignatureException", "no AWS4-HMAC-SHA256 in Authorization")
    parts = dict(p.strip().split("=", 1) for p in text.split(" ", 1)[1].split(",") if "=" in p)
    for name in ("Credential", "SignedHeaders", "Signature"):
        if name not in parts:
            raise Fault("IncompleteSignatureException", f"Authorization header requires '{name}' parameter.")
    return parts


def canonical_query(query):
    pairs = urllib.parse.parse_qsl(query, keep_blank_values=True)
    quote = lambda x: urllib.parse.quote(x, safe="-_.~")  # noqa: E731
    return "&".join(f"{quote(k)}={quote(v)}" for k, v in sorted(pairs))


def signature_of(secret, method, path, query, headers, signed, body, date, scope):
    """Signature version 4 (the vendor's documents), from a request as it was received."""
    canonical_headers = "".join(f"{h}:{' '.join(headers[h].split())}\n" for h in signed)
    request = "\n".join([method, urllib.parse.quote(urllib.parse.unquote(path), safe="/-_.~"), canonical_query(query),
                         canonical_headers, ";".join(signed), hashlib.sha256(body).hexdigest()])
    text = "\n".join(["AWS4-HMAC-SHA256", date, "/".join(scope), hashlib.sha256(request.encode()).hexdigest()])
    key = ("AWS4" + secret).encode()
    for part in scope:
        key = hmac_sha256(key, part)
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class Rules:
    """What is to go wrong, by operation ('*': all)."""

    def __init__(self):
        self.lock = threading.Lock()
        self.list = []

    def add(self, what, operation="*", times=-1, **kw):
        with self.lock:
            self.list.append({"what": what, "operation": operation, "times": times, **kw})

    def clear(self):
        with self.lock:
            self.list = []

    def take(self, operation, *kinds):
        """The first rule of these kinds that still works for the operation, or None."""
        with self.lock:
            for rule in self.list:
                if rule["what"] in kinds and rule["operation"] in ("*", operation) and rule["times"] != 0:
                    rule["times"] -= rule["times"] > 0
                    return rule
        return None


class Kms:
    """The service: keys, credentials that are known, and a server."""

    def __init__(self, region="us-east-1", tls=None):
        self.region = region
        self.lock = threading.RLock()
        self.keys = {}           # by id
        self.aliases = {}        # name: id
        self.credentials = {}    # access key: (secret, token or None, until or None)
        self.rules = Rules()
        self.requests = collections.Counter()
        self.skew_s = 0          # of the service's clock
        self.meta_token = "meta-" + uuid.uuid4().hex
        self.lent = None         # credentials that metadata and the token service give: (key, secret, token, until)
        self.container_token = None
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Handler,), {"kms": self}))
        self.server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls.certificate, tls.key)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.stop()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def now(self):
        return time.time() + self.skew_s

    def allow(self, key="AKIDEXAMPLE", secret="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token=None, until=None):
        with self.lock:
            self.credentials[key] = (secret, token, until)
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, **({"AWS_SESSION_TOKEN": token} if token else {})}

    def lend(self, lifetime_s=3600, renew=True):
        """Credentials for roles, known to the service until they end."""
        key = "ASIA" + uuid.uuid4().hex[:16].upper()
        self.lent = (key, uuid.uuid4().hex, uuid.uuid4().hex * 4, self.now() + lifetime_s)
        self.allow(key, self.lent[1], self.lent[2], self.lent[3])
        self.lifetime_s = lifetime_s
        self.renew = renew

    def find(self, name):
        for alias in (name, name.split(":", 5)[-1]):
            if alias.startswith("alias/"):
                if alias not in self.aliases:
                    raise Fault("NotFoundException", f"Alias arn:aws:kms:{self.region}:{ACCOUNT}:{alias} is not found.")
                return self.keys[self.aliases[alias]]
        key = self.keys.get(name.rsplit("/", 1)[-1])
        if key is None or (name.startswith("arn:") and name != key.arn):
            raise Fault("NotFoundException", f"Key '{name}' does not exist")
        return key

    def check_signature(self, method, path, query, headers, body):
        text = headers.get("authorization")
        if text is None:
            raise Fault("MissingAuthenticationTokenException", "Missing Authentication Token")
        parts = parse_authorization(text)
        signed = parts["SignedHeaders"].split(";")
        scope = parts["Credential"].split("/")
        date = headers.get("x-amz-date", "")
        if len(scope) != 5 or scope[4] != "aws4_request" or not date.startswith(scope[1]):
            raise Fault("IncompleteSignatureException", "the credential's scope is malformed")
        if scope[2] != self.region or scope[3] != "kms":
            raise Fault("InvalidSignatureException", f"Credential should be scoped to {self.region}/kms")
        if signed != sorted(signed) or "host" not in signed:
            raise Fault("InvalidSignatureException", "'host' must be signed, and headers sorted")
        missing = [h for h in headers if h.startswith("x-amz-") and h not in signed]
        missing += [h for h in signed if h not in headers]
        if missing:
            raise Fault("InvalidSignatureException", f"not signed, or signed and not there: {missing}")
        if scope[0] not in self.credentials:
            raise Fault("UnrecognizedClientException", "The security token included in the request is invalid.")
        secret, token, until = self.credentials[scope[0]]
        when = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()
        if abs(when - self.now()) > SKEW_S:
            raise Fault("InvalidSignatureException", f"Signature expired: {date} is now earlier or later than allowed")
        wanted = signature_of(secret, method, path, query, headers, signed, body, date, scope[1:])
        if not hmac.compare_digest(wanted, parts["Signature"]):
            raise Fault("InvalidSignatureException", "The request signature we calculated does not match the signature "
                        "you provided. Check your AWS Secret Access Key and signing method.")
        if headers.get("x-amz-security-token") != token:
            raise Fault("UnrecognizedClientException", "The security token included in the request is invalid.")
        if until is not None and self.now() > until:
            raise Fault("ExpiredTokenException", "The security token included in the request is expired")

    def do(self, operation, body):
        handler = getattr(self, "op_" + operation, None)
        if handler is None:
            raise Fault("UnknownOperationException")
        with self.lock:
            return handler(body)

    @staticmethod
    def need(body, name, kind=str):
        value = body.get(name)
        if not isinstance(value, kind) or value == "":
            raise Fault("ValidationException", f"1 validation error detected: Value at '{name}' failed")
        return value

    def op_CreateKey(self, body):
        spec, usage = body.get("KeySpec", "SYMMETRIC_DEFAULT"), body.get("KeyUsage", "ENCRYPT_DECRYPT")
        if spec not in ("ECC_NIST_P256", "ECC_NIST_P384") or usage != "SIGN_VERIFY":
            raise Fault("UnsupportedOperationException", f"{spec} {usage} is not played here")
        tags = {t["TagKey"]: t["TagValue"] for t in body.get("Tags", [])}
        key = Key(self.region, spec, usage, body.get("Description", ""), tags)
        self.keys[key.id] = key
        return {"KeyMetadata": key.metadata()}

    def op_DescribeKey(self, body):
        return {"KeyMetadata": self.find(self.need(body, "KeyId")).metadata()}

    def usable(self, body):
        key = self.find(self.need(body, "KeyId"))
        if key.state != "Enabled":
            word = "disabled" if key.state == "Disabled" else "pending deletion"
            raise Fault(STATES[key.state], f"{key.arn} is {word}.")
        return key

    def op_GetPublicKey(self, body):
        key = self.usable(body)
        return {"KeyId": key.arn, "PublicKey": base64.b64encode(key.spki()).decode(), "KeySpec": key.spec,
                "CustomerMasterKeySpec": key.spec, "KeyUsage": key.usage, "SigningAlgorithms": key.algorithms()}

    def op_Sign(self, body):
        key = self.usable(body)
        try:
            message = base64.b64decode(self.need(body, "Message"), validate=True)
        except ValueError as e:
            raise Fault("SerializationException") from e
        algorithm = self.need(body, "SigningAlgorithm")
        if algorithm not in key.algorithms():
            raise Fault("InvalidKeyUsageException", f"{algorithm} is not valid for {key.arn}")
        digest = hashes.SHA256() if algorithm.endswith("256") else hashes.SHA384()
        if body.get("MessageType", "RAW") == "DIGEST":
            if len(message) != digest.digest_size:
                raise Fault("ValidationException", "Digest is invalid length for algorithm " + algorithm)
            digest = utils.Prehashed(digest)
        private = key.private
        if self.rules.take("Sign", "other-key"):
            private = ec.generate_private_key(ec.SECP256R1())
        signature = private.sign(message, ec.ECDSA(digest))
        if self.rules.take("Sign", "wrong"):
            signature = signature[:-1] + bytes([signature[-1] ^ 1])
        return {"KeyId": key.arn, "Signature": base64.b64encode(signature).decode(), "SigningAlgorithm": algorithm}

    def op_CreateAlias(self, body):
        name, key = self.need(body, "AliasName"), self.find(self.need(body, "TargetKeyId"))
        if not name.startswith("alias/") or name.startswith("alias/aws/"):
            raise Fault("InvalidAliasNameException")
        if name in self.aliases:
            raise Fault("AlreadyExistsException", f"An alias with the name {name} already exists")
        self.aliases[name] = key.id
        return None

    def op_UpdateAlias(self, body):
        name, key = self.need(body, "AliasName"), self.find(self.need(body, "TargetKeyId"))
        if name not in self.aliases:
            raise Fault("NotFoundException", f"Alias arn:aws:kms:{self.region}:{ACCOUNT}:{name} is not found.")
        self.aliases[name] = key.id
        return None

    def op_DeleteAlias(self, body):
        name = self.need(body, "AliasName")
        if self.aliases.pop(name, None) is None:
            raise Fault("NotFoundException", f"Alias arn:aws:kms:{self.region}:{ACCOUNT}:{name} is not found.")
        return None

    def op_ListAliases(self, body):
        return {"Aliases": [{"AliasName": n, "AliasArn": f"arn:aws:kms:{self.region}:{ACCOUNT}:{n}", "TargetKeyId": k}
                            for n, k in self.aliases.items()], "Truncated": False}

    def op_TagResource(self, body):
        self.find(self.need(body, "KeyId")).tags.update({t["TagKey"]: t["TagValue"] for t in self.need(body, "Tags", list)})
        return None

    def op_ListResourceTags(self, body):
        tags = self.find(self.need(body, "KeyId")).tags
        return {"Tags": [{"TagKey": k, "TagValue": v} for k, v in tags.items()], "Truncated": False}

    def op_DisableKey(self, body):
        self.find(self.need(body, "KeyId")).state = "Disabled"
        return None

    def op_EnableKey(self, body):
        self.find(self.need(body, "KeyId")).state = "Enabled"
        return None

    def op_ScheduleKeyDeletion(self, body):
        key, days = self.find(self.need(body, "KeyId")), body.get("PendingWindowInDays", PENDING_DAYS)
        if not 7 <= days <= 30:
            raise Fault("ValidationException", "PendingWindowInDays must be 7 to 30")
        if key.state == "PendingDeletion":
            raise Fault("KMSInvalidStateException", f"{key.arn} is pending deletion.")
        key.state, key.deletion = "PendingDeletion", time.time() + days * 86400
        return {"KeyId": key.arn, "DeletionDate": key.deletion, "KeyState": key.state, "PendingWindowInDays": days}

    def op_CancelKeyDeletion(self, body):
        key = self.find(self.need(body, "KeyId"))
        if key.state != "PendingDeletion":
            raise Fault("KMSInvalidStateException", f"{key.arn} is not pending deletion.")
        key.state, key.deletion = "Disabled", None
        return {"KeyId": key.arn}


def iso(t):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(t))


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kms = None
    timeout = 60

    def log_message(self, *unused):
        pass

    def date_time_string(self, timestamp=None):
        return super().date_time_string(self.kms.now())

    def reply(self, status, body, kind="application/x-amz-json-1.1", headers=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("x-amzn-RequestId", str(uuid.uuid4()))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def fail(self, fault):
        body = {"__type": fault.name, **({"message": fault.message} if fault.message else {})}
        self.reply(fault.status, json.dumps(body).encode(), headers=[("x-amzn-ErrorType", fault.name)])

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if "X-Amz-Target" not in self.headers:
            self.token_service(body)
            return
        path, _, query = self.path.partition("?")
        operation = self.headers["X-Amz-Target"].partition(".")[2]
        with self.kms.lock:
            self.kms.requests[operation] += 1
        if self.misbehave(operation):
            return
        try:
            rule = self.kms.rules.take(operation, "error")
            if rule:
                raise Fault(rule["name"], rule.get("message", ""), rule.get("status", 400))
            self.kms.check_signature("POST", path, query, {k.lower(): v for k, v in self.headers.items()}, body)
            if self.headers["X-Amz-Target"].partition(".")[0] != "TrentService":
                raise Fault("UnknownOperationException")
            if not self.headers.get("Content-Type", "").startswith("application/x-amz-json-1.1"):
                raise Fault("SerializationException")
            rule = self.kms.rules.take(operation, "deny")
            if rule:
                raise Fault("AccessDeniedException", f"User: arn:aws:iam::{ACCOUNT}:user/signet is not authorized to "
                            f"perform: kms:{operation}")
            try:
                parsed = json.loads(body)
            except ValueError as e:
                raise Fault("SerializationException") from e
            got = self.kms.do(operation, parsed)
        except Fault as fault:
            self.fail(fault)
            return
        self.reply(200, json.dumps(got).encode() if got is not None else b"")

    def misbehave(self, operation):
        """What is no answer of the service at all. True: done."""
        rule = self.kms.rules.take(operation, "hang", "reset", "cut", "drip", "html", "huge", "slow")
        if rule is None:
            return False
        what = rule["what"]
        if what == "slow":
            time.sleep(rule["s"])
            return False
        if what == "hang":
            self.hang(rule)
        elif what == "drip":
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            end = time.monotonic() + rule.get("s", 60)
            while time.monotonic() < end:
                self.wfile.write(b" ")
                self.wfile.flush()
                time.sleep(0.05)
        elif what == "cut":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"KeyId": ')
        elif what == "html":
            self.reply(rule.get("status", 200), b"<html><body>Welcome to the hotel</body></html>", "text/html")
            return True
        elif what == "huge":
            self.reply(200, b'{"x": "' + b"a" * (1 << 20) + b'"}')
            return True
        self.close_connection = True
        return True

    def hang(self, rule):
        """Until the client goes, or the rule is gone."""
        end = time.monotonic() + rule.get("s", 60)
        while time.monotonic() < end and rule in self.kms.rules.list:
            time.sleep(0.02)

    def lent(self):
        """The role's credentials, new ones where these end soon."""
        kms = self.kms
        with kms.lock:
            if kms.lent is None:
                return None
            if kms.renew and kms.lent[3] - kms.now() < 0.9 * kms.lifetime_s:
                kms.lend(kms.lifetime_s)
            return kms.lent

    def token_service(self, body):
        self.kms.requests["AssumeRoleWithWebIdentity"] += 1
        form = dict(urllib.parse.parse_qsl(body.decode()))
        lent = self.lent()
        if form.get("Action") != "AssumeRoleWithWebIdentity" or form.get("Version") != "2011-06-15" or lent is None or \
                form.get("WebIdentityToken") != "identity+/=" or not form.get("RoleArn", "").startswith("arn:aws:iam::"):
            self.reply(400, b'<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>'
                       b"<Code>InvalidIdentityToken</Code><Message>no</Message></Error></ErrorResponse>", "text/xml")
            return
        self.reply(200, f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult><AssumedRoleUser><Arn>arn:aws:sts::{ACCOUNT}:assumed-role/x/signet</Arn>
  <AssumedRoleId>AROA:signet</AssumedRoleId></AssumedRoleUser><Credentials><SessionToken>{lent[2]}</SessionToken>
  <SecretAccessKey>{lent[1]}</SecretAccessKey><Expiration>{iso(lent[3])}</Expiration>
  <AccessKeyId>{lent[0]}</AccessKeyId></Credentials></AssumeRoleWithWebIdentityResult>
  <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata></AssumeRoleWithWebIdentityResponse>""".encode(), "text/xml")

    def do_PUT(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.kms.requests["metadata-token"] += 1
        if self.path == "/latest/api/token" and self.headers.get("X-aws-ec2-metadata-token-ttl-seconds"):
            self.reply(200, self.kms.meta_token.encode(), "text/plain")
        else:
            self.reply(400, b"", "text/plain")

    def do_GET(self):
        lent = self.lent()
        roles = "/latest/meta-data/iam/security-credentials/"
        answer = {"Code": "Success", "Type": "AWS-HMAC", "LastUpdated": iso(self.kms.now()), "AccessKeyId": lent[0],
                  "SecretAccessKey": lent[1], "Token": lent[2], "Expiration": iso(lent[3])} if lent else None
        if self.path == "/container":
            self.kms.requests["container"] += 1
            ok = answer and self.headers.get("Authorization") == self.kms.container_token
            self.reply(200 if ok else 403, json.dumps(answer if ok else {"code": "AccessDenied"}).encode(), "application/json")
        elif self.headers.get("X-aws-ec2-metadata-token") != self.kms.meta_token:
            self.reply(401, b"", "text/plain")
        elif self.path == roles and answer:
            self.kms.requests["instance"] += 1
            self.reply(200, b"signet-role", "text/plain")
        elif self.path == roles + "signet-role" and answer:
            self.reply(200, json.dumps(answer).encode(), "text/plain")
        else:
            self.reply(404, b"", "text/plain")


class Tls:
    """A certificate for 127.0.0.1 of an authority of its own."""

    def __init__(self, folder):
        self.ca, self.key, self.certificate = (f"{folder}/{x}.pem" for x in ("ca", "key", "certificate"))
        openssl = program("openssl")
        curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]

        def run(*argv):
            subprocess.run([openssl, *argv], check=True, capture_output=True)
        run("req", "-x509", *curve, "-keyout", f"{folder}/ca.key", "-out", self.ca, "-days", "2", "-subj", "/CN=test CA")
        run("req", *curve, "-keyout", self.key, "-out", f"{folder}/request.pem", "-subj", "/CN=127.0.0.1")
        with open(f"{folder}/ext", "w") as f:
            f.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
        run("x509", "-req", "-in", f"{folder}/request.pem", "-CA", self.ca, "-CAkey", f"{folder}/ca.key",
            "-CAcreateserial", "-out", self.certificate, "-days", "2", "-extfile", f"{folder}/ext")
