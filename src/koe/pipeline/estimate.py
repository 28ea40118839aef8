"""How long the stages of a pipeline will take on this machine: `koe estimate`.

A pipeline that can tell declares a module (`Pipeline.estimate`) with a function `stage_seconds` of its checked
parameters and of the machine: seconds of each stage, by its name in dvc.yaml. What a training run takes is measured by
doing a few of its steps. Everything else goes by tables of seconds, measured on one machine, and by how much slower
this one is.
"""

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from koe.pipeline.stage import KEY
from koe.errors import KoeError
from koe.pipeline.declaration import Pipeline
from koe.pipeline.recorded import departure
from koe.pipeline.writing import read_stage

LOADED = "import torch, pandas, scipy.signal, soundfile, pydantic, typer"  # what nearly every stage waits for
REFERENCE_SECONDS = 0.16  # of `_work` on a core of the machine of the tables, an AMD EPYC with AVX512-BF16


@dataclass(frozen=True)
class Machine:
    """This machine beside that of the tables."""

    start: float  # seconds until a program has loaded what a stage needs
    slowness: float  # how many times as long a core takes for the same work


def measure_machine() -> Machine:
    """Measures it, in a few seconds."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", LOADED], check=True)
    loading = time.perf_counter() - start
    return Machine(loading, min(_work() for _ in range(3)) / REFERENCE_SECONDS)


def _work() -> float:
    """Seconds that one core takes for spectra, products and a loop, as the stages that train nothing do them."""
    import torch

    from koe.parallel import one_thread

    with one_thread(), torch.inference_mode():
        noise, matrix = torch.ones(22050 * 20), torch.ones(513, 513) / 513
        start = time.perf_counter()
        for _ in range(6):
            spectra = torch.stft(noise, 1024, 256, window=torch.hann_window(1024), return_complex=True).abs()
            spectra = matrix @ spectra
        sum(number * number for number in range(500_000))
        return time.perf_counter() - start


def outdated(pipeline: Pipeline, corpora: Mapping[str, Any]) -> Iterator[str]:
    """The stages that dvc repro would run, by their names in dvc.yaml and in its order, as far as dvc.lock and
    params.yaml tell (koe.pipeline.recorded); a change of code is not noticed.
    """
    for script in pipeline.stages:
        stage = read_stage(Path(script))
        for corpus in corpora if stage.per_corpus else [""]:
            outputs = [Path(str(path).replace(KEY, corpus)) for path in stage.outputs.paths()]
            if stage.looks_outside or any(not path.exists() or departure(path) for path in outputs):
                yield f"{stage.name}@{corpus}" if stage.per_corpus else stage.name


def timetable(pipeline: Pipeline, params: Any) -> Iterator[str]:
    """Lines to print: a stage, how long it takes, and when it will be done if all begin now.

    Raises KoeError if the pipeline cannot tell.
    """
    if not pipeline.estimate:
        raise KoeError("this pipeline does not say how long its stages take (estimate, in its declaration)")
    seconds: Mapping[str, float] = import_module(pipeline.estimate).stage_seconds(params, measure_machine())
    stages = list(outdated(pipeline, getattr(params, "corpora", {})))
    width, now, total = max(map(len, (*stages, "stage"))), datetime.now(), 0.0
    yield f"{'stage':{width}}  {'takes':>9}  done at"
    for stage in stages:
        if stage not in seconds:
            yield f"{stage:{width}}  {'?':>9}"
            continue
        total += seconds[stage]
        yield f"{stage:{width}}  {in_words(seconds[stage]):>9}  {now + timedelta(seconds=total):%H:%M:%S}"
    yield f"{'all':{width}}  {in_words(total):>9}  if nothing else runs; dvc repro takes from its cache what it has"


def in_words(seconds: float) -> str:
    """A time of at most nine letters: `42 s`, `3 min`, `1 h 20`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02}"
