"""Timing of several ways to do the same: in turns, so that a busy moment hits all of them alike."""

import ctypes
import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TURN_S = 0.5
# Threads of a library that has just finished wait busily for a moment; let them go to sleep.
PAUSE_S = 0.1


def peak_memory(runner):
    """Host memory that a call takes beyond what was in use before [MiB]."""
    try:
        ctypes.CDLL(None).malloc_trim(0)  # what was freed before goes back to the system
        Path("/proc/self/clear_refs").write_text("5")  # and the high-water mark starts again
    except (AttributeError, OSError):
        return None
    before = status("VmRSS")
    runner.wait(runner.call())
    return round((status("VmHWM") - before) / 1024)


def status(name):
    """A line of /proc/self/status [KiB]."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))


@dataclasses.dataclass
class Runner:
    """One way.

    Attributes
    ----------
    name : str
        For the table.
    call : callable
        Starts one unit of work; a device may still be busy when it returns.
    wait : callable
        Takes the result of `call` and returns when it is there.
    about : dict
        What else is known: seconds to compile, memory.
    peak : callable
        Takes the runner, says what memory a call takes beyond what was in use before [MiB].
    """

    name: str
    call: Callable[[], Any]
    wait: Callable[[Any], Any]
    about: dict[str, Any] = dataclasses.field(default_factory=dict)
    peak: Callable[[Any], float | None] = peak_memory


def alternate(runners, rounds, calls=1):
    """Time of each runner in turns of at least half a second, the first to go changing.

    Parameters
    ----------
    runners : list of Runner
        What to time.
    rounds : int
        Turns of each.
    calls : int
        Least number of calls in a turn.

    Returns
    -------
    dict
        ``{name: {"ms", "cpu_ms", "turns_ms", "peak_MiB", ...}}``: medians over the rounds; CPU time
        is that of all threads; the peak is memory in use beyond that before the call.
    """
    turns = {}
    for runner in runners:
        start = time.perf_counter()
        runner.wait(runner.call())
        runner.about["first_call_s"] = round(time.perf_counter() - start, 2)
        runner.about["peak_MiB"] = runner.peak(runner)
        seconds, _ = turn(runner, 1)
        turns[runner.name] = max(calls, min(1000, round(TURN_S / seconds)))
    taken = {runner.name: [] for runner in runners}
    for number in range(rounds):
        first = number % len(runners)
        for runner in runners[first:] + runners[:first]:
            time.sleep(PAUSE_S)
            taken[runner.name].append(turn(runner, turns[runner.name]))
    result = {}
    for runner in runners:
        wall, cpu = zip(*taken[runner.name], strict=True)
        result[runner.name] = {
            "ms": round(1e3 * statistics.median(wall), 3),
            "cpu_ms": round(1e3 * statistics.median(cpu), 3),
            "turns_ms": [round(1e3 * seconds, 3) for seconds in wall],
            **runner.about,
        }
    return result


def ratios(result, ours):
    """Time of ours over that of each other: the median over rounds of the ratio in a round."""
    mine = result[ours]["turns_ms"]
    return {
        name: round(statistics.median(a / b for a, b in zip(mine, row["turns_ms"], strict=True)), 3)
        for name, row in result.items()
        if name != ours
    }


def turn(runner, calls):
    """Wall and CPU seconds of one call, over so many."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(calls):
        out = runner.call()
    runner.wait(out)
    return (time.perf_counter() - wall) / calls, (time.process_time() - cpu) / calls
