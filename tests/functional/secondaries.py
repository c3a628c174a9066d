"""NSD, Knot and BIND as secondaries of one primary on 127.0.0.1, with a TSIG key, told by NOTIFY."""

import os

import dns.query
import dns.rdatatype
import dns.zone

from procs import Server, free_port, program


class Secondary(Server):
    """Serves 'zones', transferred from 'primary' (a port) with 'key' (dns.tsig.Key), over TLS where 'tls' says who that
    is (certificate.py); anybody here may transfer them on."""

    def __init__(self, folder, port=None):
        self.folder = str(folder)
        self.port = port or free_port()
        os.makedirs(self.folder, exist_ok=True)

    def start(self):
        super().__init__(self.argv, self.folder, type(self).__name__.lower())
        return self

    def serial(self, zone):
        reply = self.ask(zone, "SOA", timeout=2)
        return reply.answer[0][0].serial if reply.rcode() == 0 and reply.answer else None

    def has(self, zone, serial):
        try:
            return self.serial(zone) == serial
        except (dns.exception.Timeout, OSError):
            return False

    def records(self, zone):
        """Sorted lines, as test_transfer.dumped() has them."""
        lines = []
        for m in dns.query.xfr(self.address, zone, port=self.port, relativize=False, timeout=60, lifetime=60):
            for rr in m.answer:
                lines += [f"{rr.name} {rr.ttl} {dns.rdatatype.to_text(rr.rdtype)} {r.to_text()}" for r in rr]
        return sorted(set(lines))


class Nsd(Secondary):
    def __init__(self, folder, zones, primary, key, port=None, tls=None):
        super().__init__(folder, port)
        conf = os.path.join(self.folder, "nsd.conf")
        self.argv = [program("nsd"), "-d", "-c", conf]
        with open(conf, "w") as f:
            f.write(f"""server:
  ip-address: 127.0.0.1@{self.port}
  server-count: 1
  username: ""
  zonesdir: "{self.folder}"
  database: ""
  pidfile: "{self.folder}/nsd.pid"
  xfrdfile: "{self.folder}/nsd.xfrd"
  xfrdir: "{self.folder}"
  zonelistfile: "{self.folder}/nsd.zonelist"
  rrl-ratelimit: 0
  xfrd-reload-timeout: 0
{f'  tls-cert-bundle: "{tls.certificate}"' if tls else ""}
remote-control:
  control-enable: no
{f'tls-auth:{chr(10)}  name: primary{chr(10)}  auth-domain-name: "{tls.name}"' if tls else ""}
key:
  name: "{key.name}"
  algorithm: hmac-sha256
  secret: "{secret(key)}"
""")
            for zone in zones:
                f.write(f"""zone:
  name: "{zone}"
  zonefile: "{zone}.zone"
  request-xfr: {"AXFR " if tls else ""}127.0.0.1@{primary} {key.name}{" primary" if tls else ""}
  allow-notify: 127.0.0.1 {key.name}
  provide-xfr: 127.0.0.1 NOKEY
""")
        self.start()


class Knot(Secondary):
    def __init__(self, folder, zones, primary, key, port=None):
        super().__init__(folder, port)
        conf = os.path.join(self.folder, "knot.conf")
        self.argv = [program("knotd"), "-c", conf]
        os.makedirs(os.path.join(self.folder, "db"), exist_ok=True)
        with open(conf, "w") as f:
            f.write(f"""server:
  rundir: "{self.folder}"
  listen: 127.0.0.1@{self.port}
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
log:
  - target: stderr
    any: info
database:
  storage: "{self.folder}/db"
key:
  - id: "{key.name}"
    algorithm: hmac-sha256
    secret: "{secret(key)}"
remote:
  - id: primary
    address: 127.0.0.1@{primary}
    key: "{key.name}"
acl:
  - id: notified
    address: 127.0.0.1
    key: "{key.name}"
    action: notify
  - id: read
    address: 127.0.0.1
    action: transfer
template:
  - id: default
    storage: "{self.folder}"
    master: primary
    acl: [notified, read]
    zonefile-sync: -1
    zonefile-load: none
    journal-content: all
zone:
""")
            f.writelines(f'  - domain: "{zone}"\n' for zone in zones)
        self.start()


class Bind(Secondary):
    def __init__(self, folder, zones, primary, key, port=None, tls=None):
        super().__init__(folder, port)
        conf = os.path.join(self.folder, "named.conf")
        self.argv = [program("named"), "-g", "-n", "1", "-c", conf]
        with open(conf, "w") as f:
            f.write(f"""options {{
  directory "{self.folder}";
  pid-file "{self.folder}/named.pid";
  session-keyfile "{self.folder}/session.key";
  listen-on port {self.port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  recursion no;
  allow-query {{ any; }};
  allow-transfer {{ any; }};
  notify no;
  dnssec-validation no;
  empty-zones-enable no;
}};
controls {{ }};
key "{key.name}" {{ algorithm hmac-sha256; secret "{secret(key)}"; }};
server 127.0.0.1 {{ keys {{ "{key.name}"; }}; }};
""")
            if tls:
                f.write(f'tls "primary" {{ ca-file "{tls.certificate}"; remote-hostname "{tls.name}"; }};\n')
            for zone in zones:
                f.write(f'zone "{zone}" {{ type secondary; file "{zone}.db"; masterfile-format text; '
                        f"primaries {{ 127.0.0.1 port {primary}{' tls primary' if tls else ''}; }}; }};\n")
        self.start()


def secret(key):
    import base64
    return base64.b64encode(key.secret).decode()
