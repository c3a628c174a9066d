"""What the benchmark ran on, and whether it had the machine for itself."""

import glob
import os
import platform
import re
import subprocess
import time

import servers

LOAD_WARN = 0.5


def text(path):
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError:
        return None


def caches():
    """As Linux tells them, or where it does not, as glibc reads them off the CPU."""
    found = {}
    for folder in sorted(glob.glob("/sys/devices/system/cpu/cpu0/cache/index*")):
        name = f"L{text(folder + '/level')} {(text(folder + '/type') or '').lower()}"
        found[name] = text(folder + "/size")
    for name, key in {} if found else {"L1 data": "LEVEL1_DCACHE_SIZE", "L2": "LEVEL2_CACHE_SIZE",
                                       "L3": "LEVEL3_CACHE_SIZE"}.items():
        done = subprocess.run(["getconf", key], capture_output=True, text=True)
        if done.stdout.strip().isdigit():
            found[name] = f"{int(done.stdout) // 1024}K"
    return found


def mitigations():
    return {os.path.basename(p): text(p) for p in sorted(glob.glob("/sys/devices/system/cpu/vulnerabilities/*"))
            if text(p) != "Not affected"}


def steal_s():
    """Seconds that the hypervisor took from this machine's CPUs since it started."""
    fields = (text("/proc/stat") or "cpu").splitlines()[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK") if len(fields) > 8 else None


def describe():
    info = text("/proc/cpuinfo") or ""
    model = re.search(r"model name\s*: (.*)", info)
    memory = re.search(r"MemTotal:\s+(\d+)", text("/proc/meminfo") or "")
    load = os.getloadavg()
    return {"cpu": model.group(1) if model else platform.machine(), "cpus": os.cpu_count(),
            "hypervisor": " hypervisor" in info, "caches": caches(),
            "memory_mb": int(memory.group(1)) // 1024 if memory else None,
            "kernel": platform.release(), "os": platform.freedesktop_os_release().get("PRETTY_NAME"),
            "mitigations": mitigations(), "governor": text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
            "clocksource": text("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
            "huge_pages": text("/sys/kernel/mm/transparent_hugepage/enabled"),
            "load_before": list(load), "steal_before_s": steal_s(), "date": time.strftime("%Y-%m-%d %H:%M"),
            "versions": servers.versions()}


def warnings(machine):
    """What makes the figures worse than they could be."""
    found = []
    if machine["load_before"][0] > LOAD_WARN:
        found.append(f"other work ran on the machine: load average {machine['load_before'][0]:.2f} before the start")
    if machine["cpus"] < 2:
        found.append("one CPU only: servers and generator share it")
    if machine["governor"] not in (None, "performance"):
        found.append(f"CPU frequency governor {machine['governor']}, not performance")
    return found


def line(machine):
    size = ", ".join(f"{name} {value}" for name, value in machine["caches"].items())
    return (f"{machine['cpu']}, {machine['cpus']} CPUs ({size}), {machine['memory_mb']} MB, "
            f"{'virtual machine, ' if machine['hypervisor'] else ''}Linux {machine['kernel']}, {machine['os']}, "
            f"{machine['date']}; load average before {machine['load_before'][0]:.2f}")
