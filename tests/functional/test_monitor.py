"""What secondaries really serve, as signet sees it: NSD, Knot and BIND that fall behind, go away, and let signatures end."""

import time

import dns.exception
import dns.rdatatype
import pytest

import secondaries
from procs import free_port, wait_for
from test_secondaries import KINDS, Stage
from test_transfer import ZONE

# Nobody is late before that.
PROPAGATION_S = 2


def served(stage, kind):
    shown = stage.primary.ctl_json("zone", "show", ZONE)["secondaries"]
    return next(s for s in shown if s["name"] == kind.__name__)["served"]


def in_trouble(stage, kind, what):
    return what in served(stage, kind)["trouble"]


def stage_with(run, folder, seed, **kw):
    stage = Stage(run, folder, seed, propagation=f"{PROPAGATION_S}s", **kw)
    stage.settle()
    for kind in KINDS:
        wait_for(lambda kind=kind: served(stage, kind)["serial"] == stage.serial(), 60, f"{kind.__name__} seen")
        assert served(stage, kind)["trouble"] == []
    assert "serves serial 1" in stage.primary.ctl("zone", "show", ZONE).stdout
    return stage


def freeze(stage, kind):
    """The secondary goes on with what it has: nobody is where it asks, and nobody may tell it."""
    port = stage.ports[kind]
    stage.secondaries[kind].stop()
    frozen = stage.run(kind, f"{stage.folder}/{kind.__name__}", [ZONE], free_port(), stage.key, port)

    def up():
        try:
            return frozen.serial(ZONE) is not None
        except (dns.exception.Timeout, OSError):
            return False
    wait_for(up, 60, f"what it had\n{frozen.text()}")
    stage.secondaries[kind] = frozen
    return frozen


def thaw(stage, kind):
    stage.secondaries[kind].stop()
    stage.secondaries[kind] = stage.secondary(kind)


def status_text(stage):
    return stage.primary.ctl("status").stdout


@pytest.mark.parametrize("kind", [secondaries.Knot, secondaries.Bind])
def test_a_secondary_that_falls_behind(run, tmp_path, seed, kind):
    stage = stage_with(run, tmp_path, seed)
    freeze(stage, kind)
    others = [k for k in KINDS if k is not kind]
    begin = time.time()
    for _ in range(3):
        stage.change()
    wait_for(lambda: in_trouble(stage, kind, "behind") and served(stage, kind)["versions_behind"] == 3, 60,
             f"late\n{stage.primary.text()}")
    seen = served(stage, kind)
    assert seen["serial"] == 1 and stage.serial() == 4
    since = time.mktime(time.strptime(seen["since"], "%Y-%m-%d %H:%M:%SZ")) - time.timezone
    assert begin - 2 <= since <= begin + 30
    said = f"is 3 serials behind (1) since {seen['since']}"
    assert said in seen["text"]
    assert said in stage.primary.ctl("zone", "show", ZONE).stdout
    assert f"{kind.__name__} (127.0.0.1@{stage.ports[kind]}) {said}" in status_text(stage)
    status = stage.primary.ctl_json("status")
    assert status["zone_counts"]["problems"] == 1
    assert [s["served"]["trouble"] for s in status["zones"][0]["secondaries"] if s["name"] == kind.__name__] == [["behind"]]
    stage.settle(others)
    for other in others:
        wait_for(lambda other=other: served(stage, other)["serial"] == 4, 60, "those that follow")
        assert served(stage, other)["trouble"] == []
    # Once, not at each look.
    assert stage.primary.text().count(f"{kind.__name__} (127.0.0.1@{stage.ports[kind]}) is ") == 1
    thaw(stage, kind)
    stage.change()
    stage.settle()
    wait_for(lambda: served(stage, kind)["trouble"] == [], 60, "nothing wrong with it")
    assert f"{kind.__name__} (127.0.0.1@{stage.ports[kind]}) is well again: serves serial" in stage.primary.text()
    assert stage.primary.ctl_json("status")["zone_counts"]["problems"] == 0


def test_a_secondary_that_is_away(run, tmp_path, seed):
    stage = stage_with(run, tmp_path, seed)
    kind = secondaries.Nsd
    stage.secondaries[kind].stop()
    stage.change()
    wait_for(lambda: in_trouble(stage, kind, "silent"), 90, f"silence\n{stage.primary.text()}")
    seen = served(stage, kind)
    assert seen["silent_since"] is not None
    said = f"{kind.__name__} (127.0.0.1@{stage.ports[kind]}) does not answer since {seen['silent_since']}"
    assert said in status_text(stage)
    assert said in stage.primary.text()
    stage.secondaries[kind] = stage.secondary(kind)
    stage.settle()
    wait_for(lambda: served(stage, kind)["trouble"] == [] and served(stage, kind)["silent_since"] is None, 90,
             "it answers again")


def test_a_secondary_whose_signatures_end(run, tmp_path, seed):
    """It serves what it had: signatures of a minute, while the zone is signed anew all the time."""
    stage = Stage(run, tmp_path, seed, propagation=f"{PROPAGATION_S}s",
                  **{"signature-refresh": "30s", "signature-validity": "60s"})
    kind = secondaries.Bind
    wait_for(lambda: stage.secondaries[kind].serial(ZONE) is not None, 60, "the zone at its secondary")
    frozen = freeze(stage, kind)
    ends = min(r.expiration for rrset in frozen.ask(ZONE, "SOA", do=True).answer for r in rrset
               if r.rdtype == dns.rdatatype.RRSIG)
    wait_for(lambda: in_trouble(stage, kind, "ending"), 120, f"the end in sight\n{stage.primary.text()}")
    seen = served(stage, kind)
    end = time.mktime(time.strptime(seen["signatures_end"], "%Y-%m-%d %H:%M:%SZ")) - time.timezone
    assert end <= ends
    assert "behind" in seen["trouble"]
    assert f"{kind.__name__} (127.0.0.1@{stage.ports[kind]}) is " in status_text(stage)
    assert "serves signatures that e" in status_text(stage).lower()
    wait_for(lambda: "serves signatures that ENDED at" in status_text(stage), 180, "the end")
    thaw(stage, kind)
    stage.change()
    wait_for(lambda: served(stage, kind)["trouble"] == [], 90, "nothing wrong with it")


def test_a_secondary_that_lost_the_zone(run, tmp_path, seed):
    stage = stage_with(run, tmp_path, seed)
    kind = secondaries.Nsd
    stage.secondaries[kind].stop()
    stage.run(kind, tmp_path / "elsewhere", ["elsewhere.test"], free_port(), stage.key, stage.ports[kind])
    stage.change()
    wait_for(lambda: in_trouble(stage, kind, "absent"), 90, f"that it has no such zone\n{stage.primary.text()}")
    assert "does not serve the zone since" in status_text(stage)
    assert not served(stage, kind)["serves"]
