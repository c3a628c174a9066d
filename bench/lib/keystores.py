"""Keystores beside the bare module: signatures a second by sessions, and the time of one."""

import json
import subprocess

import context  # noqa: F401  (puts tests/functional in the path)
import report

TARGETS = ("bench/bench_hsm",)
TOOL_S = 600


def run(ctx):
    argv = [ctx.program("bench/bench_hsm"), "--json", "--sessions", "1,2,4"]
    argv += ["--millis", "100", "--rounds", "1"] if ctx.quick else ["--millis", "1000", "--rounds", str(ctx.rounds)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=TOOL_S, check=True)
    return {"rows": json.loads(done.stdout)}


def table(result):
    lines = [[r["what"], r["sessions"], f"{r['per_second']:.0f}", f"{r['of_bare']:.2f}", f"{r['cpu_us']:.1f}",
              f"{r['p50_us']:.0f}", f"{r['p99_us']:.0f}"] for r in result["rows"]]
    return "\n".join(["## Keystores", "",
                      "SoftHSM, each signature verified. Bare: a loop of C_SignInit, C_Sign and verify on each of as many "
                      "threads and sessions. One: a single signature, asked for and waited for, while nothing else is signed.",
                      "", report.markdown(["way", "sessions", "a second", "of bare", "CPU us each", "one, p50 us",
                                           "one, p99 us"], lines)])


def judge(result):
    rows = {(r["what"], r["sessions"]): r for r in result["rows"]}
    out = []
    for way in ("in process", "isolated"):
        out += [report.verdict(f"SoftHSM, {way}, {n} sessions: of bare loops", r["of_bare"], 0.9, at_least=True)
                for (what, n), r in rows.items() if what == way]
    out += [report.verdict(f"isolated, {n} sessions: CPU us above the module inside",
                           r["cpu_us"] - rows["in process", n]["cpu_us"], 25)
            for (what, n), r in rows.items() if what == "isolated"]
    return out
