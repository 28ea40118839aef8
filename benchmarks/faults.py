"""Accidents by the hundred: what Koe survives, counted (docs/reliability.md has the table).

    python benchmarks/faults.py kill                      # 200 × SIGKILL of the whole group, in every stage
    python benchmarks/faults.py                           # all campaigns, one after the other
    python benchmarks/faults.py kill --seed 1 --count 50
    python benchmarks/faults.py kill --only 17            # one trial again; its folder stays
    python benchmarks/faults.py --markdown                # the table for docs/reliability.md, from what was run so far

A campaign tries accidents on copies of a finished tiny project (12 sentences, a few training steps), which is made
first, in --project. A trial is decided by seed and number alone, apart from the moments at which the machine does
things. What each trial gave is written as it ends, so a campaign that was stopped goes on when it is started again.
Ends with a table: tried, survived, and each failure with the command that repeats it; status 1 if there was one.
"""

import argparse
import fcntl
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"  # before anything loads PyTorch: results are compared to the bit
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import numpy as np
from campaigns.damage import damaged
from campaigns.disk import be_allowed_to_mount, full
from campaigns.inputs import hostile, hostile_cases, recordings
from campaigns.interrupting import kill, signals, together
from campaigns.project import ROOT, Outcome, Reference

Tried = dict[str, Any]  # an Outcome, and campaign, seed, trial, seconds


class Campaign(NamedTuple):
    """A kind of accident."""

    run: Callable[[Reference, Path, int, np.random.Generator], Outcome]
    trials: int  # unless told otherwise
    title: str  # in the table


CAMPAIGNS = {
    "kill": Campaign(kill, 200, "SIGKILL of the whole process group, at a random moment of each stage"),
    "signals": Campaign(signals, 68, "SIGINT or SIGTERM, to the group or to dvc alone, and `dvc repro` at once"),
    "together": Campaign(together, 51, "two commands at once: two runs, a stage beside itself, a reader beside a run"),
    "disk": Campaign(full, 51, "the disk full at a random moment of each stage"),
    "damage": Campaign(damaged, 200, "a file damaged: outs, models, checkpoints, tables, DVC's cache and lock, params"),
    "recordings": Campaign(recordings, 100, "six malformed recordings, an odd entry and a malformed list among good"),
    "hostile": Campaign(hostile, len(hostile_cases(Path("marker"))), "hostile pickles, arrays, YAML, JSON, texts"),
}
_slots: Any = None  # of a worker: the numbers that are free


def _begin(slots: Any) -> None:
    global _slots
    _slots = slots


@cache
def _slot() -> int:
    return int(_slots.get())


@cache
def _reference(folder: Path) -> Reference:
    return Reference(folder)


def try_one(folder: Path, campaign: str, seed: int, number: int) -> Tried:
    """One trial, in a worker's own folder."""
    reference, slot = _reference(folder), folder / f"slot{_slot()}"
    start = time.monotonic()
    slot.mkdir(exist_ok=True)
    draw = np.random.default_rng([seed, list(CAMPAIGNS).index(campaign), number])
    try:
        outcome = CAMPAIGNS[campaign].run(reference, slot.resolve(), number, draw)
    except Exception as error:
        outcome = Outcome("the campaign itself", [f"{type(error).__name__}: {error}"])
    return {"campaign": campaign, "seed": seed, "trial": number, "seconds": round(time.monotonic() - start, 1),
            **asdict(outcome), "what": printable(outcome.what), "problems": [*map(printable, outcome.problems)]}


def printable(text: str) -> str:
    """On one line, without what a terminal obeys."""
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(text.split()))[:600]


def run_campaign(folder: Path, name: str, seed: int, numbers: list[int], jobs: int) -> None:
    """Tries what has not been tried yet, and writes down each trial as it ends."""
    done = {tried["trial"] for tried in results(folder) if (tried["campaign"], tried["seed"]) == (name, seed)}
    left = [number for number in numbers if number not in done]
    print(f"{name}: {len(numbers)} trials, {len(left)} of them left", flush=True)
    context = get_context("spawn")
    slots = context.Queue()
    for slot in range(jobs):
        slots.put(slot)
    _write_results(folder, results(folder))
    start = time.monotonic()
    with (ProcessPoolExecutor(jobs, context, _begin, (slots,)) as pool,
          (folder / "results.jsonl").open("a") as record):
        running = [pool.submit(try_one, folder, name, seed, number) for number in left]
        for count, future in enumerate(as_completed(running), 1):
            tried = future.result()
            record.write(json.dumps(tried) + "\n")
            record.flush()
            each = (time.monotonic() - start) / count
            end = time.strftime("%H:%M", time.localtime(time.time() + each * (len(left) - count)))
            print(f"{name} {tried['trial']:3d} ({count} of {len(left)}, {each:.1f} s each, until {end}): "
                  f"{tried['what']}", *tried["problems"], sep="\n    FAILED: ", flush=True)


def results(folder: Path) -> list[Tried]:
    """What was tried so far; the newest where a trial was repeated."""
    path = folder / "results.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    whole = [json.loads(line) for line in lines if line.endswith("}")]  # this program may be killed too
    return list({(tried["campaign"], tried["seed"], tried["trial"]): tried for tried in whole}.values())


def _write_results(folder: Path, tried: list[Tried]) -> None:
    (folder / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in tried))


def rows(tried: list[Tried]) -> Iterator[tuple[str, int, int, int, int, int]]:
    """Campaign, tried, survived, times that koe doctor was needed and named, needed and not named, orphans waited for.
    """
    for name in CAMPAIGNS:
        if own := [one for one in tried if one["campaign"] == name]:
            yield (name, len(own), sum(not one["problems"] for one in own),
                   *(sum(one[key] for one in own) for key in ("doctor", "unnamed", "waited")))


def print_table(tried: list[Tried], markdown: bool = False) -> None:
    if markdown:
        print("| accident | tried | survived | `koe doctor` needed | of these not named by the message |\n"
              "|---|---|---|---|---|")
        for name, count, survived, doctor, unnamed, _ in rows(tried):
            print(f"| {CAMPAIGNS[name].title} | {count} | {survived} | {doctor + unnamed} | {unnamed} |")
        return
    for one in tried:
        for problem in one["problems"]:
            print(f"{one['campaign']} {one['trial']}: {one['what']}\n  {problem}\n  python benchmarks/faults.py "
                  f"{one['campaign']} --seed {one['seed']} --only {one['trial']}")
    print(f"{'campaign':12}{'tried':>8}{'survived':>10}{'doctor':>8}{'unnamed':>9}{'waited':>8}")
    for name, *numbers in rows(tried):
        print(f"{name:12}" + "".join(f"{number:>{width}}" for number, width in zip(numbers, (8, 10, 8, 9, 8),
                                                                                   strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("campaigns", nargs="*", metavar="campaign", help=f"{', '.join(CAMPAIGNS)} (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, help="trials of each campaign (default: the campaign's own)")
    parser.add_argument("--only", type=int, help="this trial alone, though it was tried before")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time (default: %(default)s)")
    parser.add_argument("--project", type=Path, default=ROOT / "work/faults",
                        help="folder of the tiny project, the trials and results.jsonl (default: work/faults)")
    parser.add_argument("--markdown", action="store_true", help="print the table of what was tried so far, and end")
    options = parser.parse_args()
    folder = options.project.resolve()
    if options.markdown:
        return print_table(results(folder), markdown=True)
    chosen = options.campaigns or list(CAMPAIGNS)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets its background processes ignore it
    if unknown := set(chosen) - set(CAMPAIGNS):
        parser.error(f"no campaign {', '.join(unknown)}; there are {', '.join(CAMPAIGNS)}")
    if "disk" in chosen:
        be_allowed_to_mount()
    folder.mkdir(parents=True, exist_ok=True)
    claim = (folder / "claim").open("w")  # held until this process ends
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        parser.error(f"another campaign runs in {folder}; give this one a --project of its own")
    Reference(folder)
    for name in chosen:
        if options.only is not None:
            numbers, repeated = [options.only], (name, options.seed, options.only)
            _write_results(folder, [one for one in results(folder)
                                    if (one["campaign"], one["seed"], one["trial"]) != repeated])
        else:
            numbers = list(range(options.count or CAMPAIGNS[name].trials))
        run_campaign(folder, name, options.seed, numbers, 1 if options.only is not None else options.jobs)
    if options.only is None:
        for slot in folder.glob("slot*"):
            shutil.rmtree(slot, ignore_errors=True)
    tried = [one for one in results(folder) if one["campaign"] in chosen]
    print_table(tried)
    (folder / "summary.json").write_text(json.dumps({"campaigns": [
        dict(zip(("campaign", "tried", "survived", "doctor", "unnamed", "waited"), row, strict=True))
        for row in rows(results(folder))], "failures": [one for one in tried if one["problems"]]}, indent=2))
    raise SystemExit(any(one["problems"] for one in tried))


if __name__ == "__main__":
    main()
