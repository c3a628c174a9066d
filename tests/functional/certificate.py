"""A certificate that signs itself, and its key, in files."""

import os
import subprocess

from procs import program


class Certificate:
    def __init__(self, folder, name="ns1.test", days=30):
        self.name = name
        self.certificate = os.path.join(str(folder), "cert.pem")
        self.key = os.path.join(str(folder), "key.pem")
        self.renew(days)

    def renew(self, days=30):
        """Another one in the place of the first, as a client of an authority does it: the key first."""
        new = [path + ".new" for path in (self.key, self.certificate)]
        subprocess.run([program("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                        "-nodes", "-subj", f"/CN={self.name}", "-addext", f"subjectAltName=DNS:{self.name}",
                        "-days", str(days), "-keyout", new[0], "-out", new[1]], check=True, capture_output=True)
        os.chmod(new[0], 0o600)
        os.rename(new[0], self.key)
        os.rename(new[1], self.certificate)

    def text(self):
        with open(self.certificate) as f:
            return f.read()
