"""Keystores as operators meet them: their health, what check says is missing, what bench measures, and a server that
must end while one hangs."""

import json
import os
import shutil
import signal
import subprocess

import pytest

from daemon import BUILD, PIN, SIGNETCTL, Signet, policy, softhsm_module
from procs import program, wait_for

ZONE = "example.test"
P11WRAP = os.path.abspath(os.path.join(BUILD, "tests", "tools", "p11wrap.so"))


def write_zone(path, serial=1, extra=""):
    with open(path + ".new", "w") as f:
        f.write(f"$TTL 300\n@ SOA ns h {serial} 3600 600 86400 60\n@ NS ns\nns A 192.0.2.1\n{extra}")
    os.rename(path + ".new", path)


class Wrapped:
    """The token behind the module that misbehaves on request."""

    def __init__(self, folder, token):
        self.control = os.path.join(folder, "wrap.control")
        self.log = os.path.join(folder, "wrap.log")
        self.env = {**token.env, "P11WRAP_MODULE": softhsm_module(), "P11WRAP_CONTROL": self.control,
                    "P11WRAP_LOG": self.log}
        self.rules = 0
        self.rule("")

    def rule(self, text, times=-1):
        """One rule: 'FUNCTION ACTION VALUE', or none."""
        self.rules += 1
        with open(self.control + ".new", "w") as f:
            f.write(f"{text} {times} {self.rules}\n" if text else "")
        os.rename(self.control + ".new", self.control)

    def calls(self, function):
        with open(self.log) as f:
            return f.read().split().count(function)


def start(run, folder, keystores, env, **kw):
    path = os.path.join(folder, "zone")
    write_zone(path)
    conf = {"keystores": keystores, "policies": [policy()], "zones": [{"name": ZONE, "file": path, "policy": "default"}]}
    return run(Signet, folder, conf, env=env, **kw)


def test_second_sigterm_ends_a_server_that_hangs(tmp_path, run, token):
    folder = str(tmp_path)
    wrapped = Wrapped(folder, token)
    server = start(run, folder, [{**token.keystore(), "module": P11WRAP, "isolate": False}], wrapped.env)
    server.wait_complete(ZONE)
    before = wrapped.calls("C_Sign")
    wrapped.rule("C_Sign hold 0")
    write_zone(os.path.join(folder, "zone"), 2)
    with subprocess.Popen([SIGNETCTL, "-c", server.conf_path, "zone", "reload", ZONE], stderr=subprocess.DEVNULL) as ctl:
        wait_for(lambda: wrapped.calls("C_Sign") > before, what="a signature that hangs")
        server.child.send_signal(signal.SIGTERM)
        wait_for(lambda: "SIGTERM: stopping" in server.text(), what="the server is stopping")
        server.child.send_signal(signal.SIGTERM)
        assert server.child.wait(30) == 1
        assert "ends at once" in server.text()
        assert ctl.wait(30) == 1


def ctl(server, *args):
    done = server.ctl(*args, check=False)
    return done.returncode, done.stdout, done.stderr


def test_list(tmp_path, run, token):
    server = start(run, str(tmp_path), [token.keystore(), {"name": "local", "type": "file"}], token.env)
    server.wait_complete(ZONE)
    listed = {k["name"]: k for k in server.ctl_json("keystore", "list")["keystores"]}
    assert listed["token"]["type"] == "pkcs11" and listed["token"]["state"] == "up"
    assert listed["token"]["signatures"] > 0 and listed["token"]["detail"] == ""
    assert listed["local"]["type"] == "file" and listed["local"]["state"] == "not used"
    pid = listed["token"]["pid"]
    assert pid and listed["local"]["pid"] is None
    assert str(pid) in server.ctl("keystore", "list").stdout
    # The process of the module is another one after it died, and that is counted.
    os.kill(pid, signal.SIGKILL)
    again = wait_for(lambda: [k for k in server.ctl_json("status")["keystores"]
                              if k["name"] == "token" and k["state"] == "up" and k["restarts"] == 1],
                     what="the module's process anew")
    assert again[0]["pid"] != pid


@pytest.mark.parametrize("serving", [True, False])
def test_check_and_bench(tmp_path, run, token, serving):
    """The same with the server and without it."""
    server = start(run, str(tmp_path), [token.keystore(sessions=3)], token.env)
    server.wait_complete(ZONE)
    if not serving:
        assert server.stop() == 0
    code, out, err = ctl(server, "keystore", "check", "token")
    assert code == 0, out + err
    lines = out.splitlines()
    assert [line.split()[:2] for line in lines] == [["ok", step] for step in
                                                    ("module", "PIN", "token", "login", "key", "key")], out
    assert any("ksk" in line and ZONE in line and "verifies" in line for line in lines), out
    # At least one lane is left to the server's questions.
    code, out, err = ctl(server, "keystore", "bench", "token", "--seconds", "1", "--json")
    assert code == 0, err
    results = json.loads(out)["results"]
    assert [r["sessions"] for r in results] == ([1, 2] if serving else [1, 2, 3])
    for r in results:
        assert r["signatures"] > 0 and 0 < r["p50_us"] <= r["p99_us"]
    assert ("keeps one session" in err) == serving
    assert ctl(server, "keystore", "check", "other")[0] == 1
    assert ctl(server, "keystore", "bench", "token", "--seconds", "0")[0] == 2
    if serving:
        # It still answers, and what waits is nothing.
        assert server.ask(ZONE, "SOA", do=True).answer
        assert server.stop() == 0


def test_bench_without_a_key(tmp_path, run, token):
    server = start(run, str(tmp_path), [token.keystore(), {"name": "local", "type": "file"}], token.env)
    server.wait_complete(ZONE)
    code, out, _ = ctl(server, "keystore", "check", "local")
    assert code == 0 and "no zone has one here yet" in out
    code, _, err = ctl(server, "keystore", "bench", "local")
    assert code == 1 and "nothing to sign with" in err


def check_fails(server, step, *phrases, options=()):
    """The first step that fails, in the text and in JSON; what is said about it."""
    code, out, err = ctl(server, *options, "keystore", "check", "token")
    assert code == 1, out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("missing")][0] == step, out
    assert f"keystore token: {step}: " in err and "what to do: " in err, err
    for phrase in phrases:
        assert phrase in err, err
    code, out, _ = ctl(server, *options, "keystore", "check", "token", "--json")
    answer = json.loads(out)
    assert code == 1 and answer["missing"]["step"] == step and answer["missing"]["remedy"]
    return answer


@pytest.mark.parametrize("serving", [True, False])
def test_check_with_the_token_dead(tmp_path, run, token, serving):
    server = start(run, str(tmp_path), [token.keystore()], token.env)
    server.wait_complete(ZONE)
    if not serving:
        assert server.stop() == 0
    else:
        # The module knows its tokens until it is loaded anew.
        os.rename(os.path.join(token.folder, "tokens"), os.path.join(token.folder, "gone"))
        os.kill(server.ctl_json("keystore", "list")["keystores"][0]["pid"], signal.SIGKILL)
    if not serving:
        os.rename(os.path.join(token.folder, "tokens"), os.path.join(token.folder, "gone"))
    check_fails(server, "token")
    os.rename(os.path.join(token.folder, "gone"), os.path.join(token.folder, "tokens"))
    wait_for(lambda: ctl(server, "keystore", "check", "token")[0] == 0, what="the token is back")


@pytest.mark.parametrize("serving", [True, False])
def test_check_with_a_wrong_pin(tmp_path, run, token, serving):
    server = start(run, str(tmp_path), [token.keystore()], token.env)
    server.wait_complete(ZONE)
    assert server.stop() == 0
    with open(token.pin_file) as f:
        pin = f.read()
    with open(token.pin_file, "w") as f:
        f.write("000000\n")
    if serving:
        server.run()
    check_fails(server, "login", "PIN", "PIN file: it is tried once")
    with open(token.pin_file, "w") as f:
        f.write(pin)
    if not serving:
        # Who does not know that the file changed spends no try on a token that counts them.
        check_fails(server, "login", "pkcs11-tool --login")
        subprocess.run([program("pkcs11-tool"), "--module", softhsm_module(), "--token-label", token.label, "--login",
                        "--pin", PIN, "--list-objects"], check=True, capture_output=True, env={**os.environ, **token.env})
    wait_for(lambda: ctl(server, "keystore", "check", "token")[0] == 0, what="the right PIN is taken")


def check_file_is_missing(server, step):
    # By the configuration, which is not read then; and by the server.
    code, _, err = ctl(server, "keystore", "check", "token")
    assert code == 1 and "signet.yaml:" in err and "No such file" in err
    check_fails(server, step, "No such file", options=("-s", os.path.join(server.folder, "control.sock")))


def test_check_without_the_pin_file(tmp_path, run, token):
    server = start(run, str(tmp_path), [token.keystore()], token.env)
    server.wait_complete(ZONE)
    os.rename(token.pin_file, token.pin_file + ".gone")
    check_file_is_missing(server, "PIN")
    os.rename(token.pin_file + ".gone", token.pin_file)
    assert ctl(server, "keystore", "check", "token")[0] == 0


def test_check_without_the_module(tmp_path, run, token):
    module = str(tmp_path / "module.so")
    shutil.copy(softhsm_module(), module)
    server = start(run, str(tmp_path), [{**token.keystore(), "module": module}], token.env)
    server.wait_complete(ZONE)
    os.unlink(module)
    check_file_is_missing(server, "module")


def test_check_without_a_key(tmp_path, run, token):
    server = start(run, str(tmp_path), [token.keystore()], token.env)
    server.wait_complete(ZONE)
    key = next(k for k in server.ctl_json("key", "list", ZONE)["keys"] if k["role"] == "zsk")
    assert server.stop() == 0
    for kind in ("privkey", "pubkey"):
        subprocess.run([program("pkcs11-tool"), "--module", softhsm_module(), "--login", "--pin", PIN, "--token-label",
                        token.label, "--delete-object", "--type", kind, "--id", key["id"]],
                       check=True, capture_output=True, env={**os.environ, **token.env})
    answer = check_fails(server, "key", f"zsk {key['tag']} of {ZONE}", key["id"], "from its backup")
    assert [s["ok"] for s in answer["steps"] if s["step"] == "key"] == [True, False]


def test_check_with_a_module_that_signs_wrongly(tmp_path, run, token):
    folder = str(tmp_path)
    wrapped = Wrapped(folder, token)
    server = start(run, folder, [{**token.keystore(), "module": P11WRAP}], wrapped.env)
    server.wait_complete(ZONE)
    wrapped.rule("C_Sign wrong 0")
    check_fails(server, "key", "another key, or signs wrongly")
    wrapped.rule("")
    assert ctl(server, "keystore", "check", "token")[0] == 0


def file_server(run, folder, phrase):
    path = os.path.join(folder, "zone")
    write_zone(path)
    conf = {"keystores": [{"name": "token", "type": "file", "passphrase-file": phrase}], "policies": [policy()],
            "zones": [{"name": ZONE, "file": path, "policy": "default"}]}
    return run(Signet, folder, conf)


def write_private(path, text):
    with open(path, "w") as f:
        f.write(text)
    os.chmod(path, 0o600)


def test_passphrase(tmp_path, run):
    folder, phrase = str(tmp_path), str(tmp_path / "phrase")
    write_private(phrase, "correct horse\n")
    server = file_server(run, folder, phrase)
    server.wait_complete(ZONE)
    keys = os.path.join(folder, "state", "keys")
    files = [os.path.join(keys, name) for name in os.listdir(keys)]
    assert len(files) == 2
    for path in files:
        with open(path) as f:
            assert "BEGIN ENCRYPTED PRIVATE KEY" in f.read()
        assert os.stat(path).st_mode & 0o777 == 0o600
        subprocess.run([program("openssl"), "pkey", "-in", path, "-passin", "file:" + phrase, "-noout", "-check"],
                       check=True, capture_output=True)
    tags = {k["tag"] for k in server.ctl_json("key", "list", ZONE)["keys"]}
    server.restart()
    server.wait_complete(ZONE)
    assert {k["tag"] for k in server.ctl_json("key", "list", ZONE)["keys"]} == tags
    # Another passphrase: said by check and in the log, what is signed is served on, and no key is made.
    write_private(phrase, "wrong horse\n")
    check_fails(server, "key", "does not open", "passphrase-file")
    server.restart()
    assert server.ask(ZONE, "SOA", do=True).answer
    assert "does not open" in server.text()
    assert "horse" not in server.text()
    assert sorted(os.listdir(keys)) == sorted(os.path.basename(path) for path in files)
    write_private(phrase, "correct horse\n")
    assert ctl(server, "keystore", "check", "token")[0] == 0


def test_a_slow_keystore_is_in_nobody_elses_way(tmp_path, run, token):
    """Zones whose signatures take a second each, more of them than there are threads, beside one with a key file."""
    folder = str(tmp_path)
    wrapped = Wrapped(folder, token)
    wrapped.rule("C_Sign delay 1000")
    slow = [f"slow{i}.test" for i in range(4)]
    quick = "than.test"  # behind them
    hosts = "".join(f"h{i} A 192.0.2.{i}\n" for i in range(100))
    for name in [*slow, quick]:
        write_zone(os.path.join(folder, name), extra=hosts)
    conf = {"keystores": [{**token.keystore(), "module": P11WRAP}, {"name": "local", "type": "file"}],
            "policies": [policy(), {"name": "here", "csk": {"keystore": "local"}}],
            "zones": [{"name": name, "file": os.path.join(folder, name), "policy": "default"} for name in slow] +
                     [{"name": quick, "file": os.path.join(folder, quick), "policy": "here"}]}
    server = run(Signet, folder, conf, env=wrapped.env)

    def signing(name):
        return next(z["signing"] for z in server.ctl_json("status")["zones"] if z["zone"] == name + ".")

    wait_for(lambda: signing(quick) == "complete", timeout=30, what="the zone with a key file is signed")
    write_zone(os.path.join(folder, quick), 7, extra=hosts)
    server.ctl("zone", "reload", quick)
    assert server.ask(quick, "SOA").answer[0][0].serial == 7
    # All the others have been at it since the start, and are.
    assert {signing(name) for name in slow} == {"warming"}
    wrapped.rule("")
    for name in slow:
        server.wait_complete(name)
