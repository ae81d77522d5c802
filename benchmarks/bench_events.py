"""Seconds and memory that one image of a long event list takes, measured in a child process.

    python benchmarks/bench_events.py --rows 20000000 --out benchmarks/results

Makes a synthetic EPIC-pn list (tests/pps.py) plain and compressed, then runs ``xmm-jax image`` on
each and asks the system what that process needed. Run it on an idle machine. The aim is less than
60 s and 1 GB on two cores for 2e7 events.
"""

import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Linux counts what a parent held when it started a child towards the peak of the child, so this
# process stays small: the list is made in a child as well.
TESTS = Path(__file__).resolve().parents[1] / "tests"
MAKE = "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import pps; "
MAKE += "pps.write_large_list(Path(sys.argv[2]), int(sys.argv[3]))"


def child(*arguments):
    """Seconds, processor seconds and peak resident memory [MiB] of a Python process."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *map(str, arguments)], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, arguments))}: exit code {process.returncode}")
    return {
        "seconds": round(time.perf_counter() - start, 1),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_MiB": used.ru_maxrss // 1024,
    }


def measure(rows, folder):
    """Make the list, image it plain and compressed."""
    result = {}
    for name, suffix in (("plain", ".fits"), ("gzip", ".FTZ")):
        path = folder / f"P0000000001PNS003PIEVLI0000{suffix}"
        made = child("-c", MAKE, TESTS, path, rows)
        flags = ("--unfiltered", f"--save_dir={folder / name}", "--offline")
        image = child("-m", "xmm_jax.image", path, *flags)
        result[name] = {"file_MiB": path.stat().st_size // 2**20, **image}
        result[name]["make_the_list_s"] = made["seconds"]
        path.unlink()
    return result


def cpu_name():
    """Model of the processor."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return found.group(1) if found else platform.processor() or platform.machine()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--scratch", type=Path, help="folder for the lists, 1.5 GB for 2e7 events")
    parser.add_argument("--out", type=Path, help="folder for DEVICE.json; default: only print")
    options = parser.parse_args(argv)
    result = {
        "device": cpu_name(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "rows": options.rows,
    }
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        result |= measure(options.rows, Path(folder))
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        name = re.sub(r"[^a-z0-9]+", "-", result["device"].lower()).strip("-")
        (options.out / f"events-{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
