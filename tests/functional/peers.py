"""NSD, Knot and BIND serving the same files, and unbound as the validator."""

import os

from procs import Process, Server, free_port, program


class Nsd(Server):
    def __init__(self, folder, zones, minimal=False, address="127.0.0.1", workers=1, transfers=False):
        """zones: name -> path of its file; minimal: no authority in positive answers, as the others have it; transfers:
        to anybody on this machine."""
        self.port = free_port()
        self.address = address
        conf = os.path.join(folder, "nsd.conf")
        with open(conf, "w") as f:
            f.write(f"""server:
  ip-address: {address}@{self.port}
  server-count: {workers}
  username: ""
  zonesdir: "{folder}"
  database: ""
  pidfile: "{folder}/nsd.pid"
  xfrdfile: "{folder}/nsd.xfrd"
  zonelistfile: "{folder}/nsd.zonelist"
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
  minimal-responses: {'yes' if minimal else 'no'}
  round-robin: no
remote-control:
  control-enable: no
""")
            for name, path in zones.items():
                f.write(f'zone:\n  name: "{name}"\n  zonefile: "{path}"\n')
                f.write("  provide-xfr: 127.0.0.0/8 NOKEY\n" if transfers else "")
        super().__init__([program("nsd"), "-d", "-c", conf], folder, "nsd")


class Knot(Server):
    def __init__(self, folder, zones, address="127.0.0.1", workers=1, transfers=False):
        self.port = free_port()
        self.address = address
        conf = os.path.join(folder, "knot.conf")
        with open(conf, "w") as f:
            f.write(f"""server:
  rundir: "{folder}"
  listen: {address}@{self.port}
  udp-workers: {workers}
  tcp-workers: {workers}
  background-workers: 1
log:
  - target: stderr
    any: warning
database:
  storage: "{folder}/knot-db"
acl:
  - id: transfers
    address: 127.0.0.0/8
    action: transfer
template:
  - id: default
{"    acl: transfers" if transfers else ""}
    semantic-checks: off
    zonefile-sync: -1
    journal-content: none
zone:
""")
            for name, path in zones.items():
                f.write(f'  - domain: "{name}"\n    file: "{path}"\n')
        os.makedirs(os.path.join(folder, "knot-db"), exist_ok=True)
        super().__init__([program("knotd"), "-c", conf], folder, "knotd")


class Bind(Server):
    def __init__(self, folder, zones, address="127.0.0.1", workers=1):
        self.port = free_port()
        self.address = address
        conf = os.path.join(folder, "named.conf")
        with open(conf, "w") as f:
            f.write(f"""options {{
  directory "{folder}";
  pid-file "{folder}/named.pid";
  session-keyfile "{folder}/session.key";
  listen-on port {self.port} {{ {address}; }};
  listen-on-v6 {{ none; }};
  recursion no;
  allow-query {{ any; }};
  allow-transfer {{ none; }};
  notify no;
  minimal-responses no-auth;
  dnssec-validation no;
  empty-zones-enable no;
  check-names master ignore;
  rrset-order {{ order fixed; }};
}};
controls {{ }};
""")
            for name, path in zones.items():
                f.write(f'zone "{name}" {{ type primary; file "{path}"; check-integrity no; '
                        "check-mx ignore; check-mx-cname ignore; check-srv-cname ignore; };\n")
        super().__init__([program("named"), "-g", "-n", str(workers), "-c", conf], folder, "named")


class Unbound(Server):
    """A validator that asks the given servers for the given zones and nothing else."""

    recursive = True

    def __init__(self, folder, stubs, anchors, extra=""):
        """stubs: zone -> port on 127.0.0.1; anchors: lines of DS or DNSKEY."""
        self.port = free_port()
        conf = os.path.join(folder, "unbound.conf")
        trust = "".join(f'  trust-anchor: "{a}"\n' for a in anchors)
        with open(conf, "w") as f:
            f.write(f"""server:
  interface: 127.0.0.1@{self.port}
  port: {self.port}
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: "{folder}/unbound.pid"
  use-syslog: no
  verbosity: 1
  num-threads: 1
  do-ip6: no
  do-not-query-localhost: no
  module-config: "validator iterator"
  qname-minimisation: no
  aggressive-nsec: no
  val-log-level: 2
  val-clean-additional: yes
  cache-min-ttl: 0
  local-zone: "test." nodefault
  local-zone: "example." nodefault
  unblock-lan-zones: yes
  access-control: 127.0.0.0/8 allow
{trust}{extra}
remote-control:
  control-enable: no
""")
            for zone, port in stubs.items():
                f.write(f'stub-zone:\n  name: "{zone}"\n  stub-addr: 127.0.0.1@{port}\n'
                        "  stub-prime: no\n  stub-first: no\n")
        super().__init__([program("unbound"), "-d", "-c", conf], folder, "unbound")
