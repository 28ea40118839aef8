"""Which findings of the research log hold? Small models, equal steps, several seeds, on a project's existing data.

    dvc repro stats align                       # the default demo
    python benchmarks/findings.py --out findings.jsonl

trains every variant of VARIANTS with every seed on the training pairs and measures it on the test pairs, on which no
decision here depends: the free-running mel-cepstral distortion (koe.evaluation.mel_distortion), the mel's loss with the
target's durations alone and with its prosody too, and the error of log F0. Aligners are trained once each. Runs that
are in `--out` already are not repeated; the table is printed at the end.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch

from koe.align.aligner import Side, align_pair
from koe.align.neural import network_params, save_aligner
from koe.align.registry import aligner_of
from koe.align.steps import StepReader
from koe.align.training import AlignedPairs, AlignerTask
from koe.align.training import initial_network as initial_aligner
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import directions_of, pairs_in, read_pairs
from koe.corpus.statistics import read_statistics
from koe.names import speaker_key
from koe.params.reading import read_values
from koe.tasks.conversion.data import PairReader
from koe.tasks.conversion.initial import initial_network
from koe.tasks.conversion.schema import Params, check_params
from koe.tasks.conversion.speakers import Speakers
from koe.tasks.conversion.training import AcousticTask
from koe.training import loop
from koe.training.session import Session

SMALL: dict[str, Any] = {
    **{f"acoustic.{half}.{name}": value for half in ("encoder", "decoder")
       for name, value in {"layers": 2, "hidden": 128, "attention": 128, "heads": 2, "feed_forward": 512,
                           "convolution": 128, "dropout": 0.1}.items()},
    **{f"acoustic.{part}.filter": 128 for part in ("duration", "pitch", "energy", "postnet")},
    "acoustic.postnet.dropout": 0.1,
    "acoustic.training.shift": False, "acoustic.training.pictures": 0, "acoustic.training.average_best": None,
    "acoustic.training.ema": None, "acoustic.energy.stop_gradient": False,
    "acoustic.training.optimizer.name": "adamw", "acoustic.training.optimizer.weight_decay": 0.01,
    "acoustic.training.batch_size": 4, "acoustic.training.schedule.learning_rate": 1e-3,
    "acoustic.training.schedule.warmup_steps": 40, "acoustic.reduction.factor": 3,
}
NO_FORCING = {"acoustic.teacher_forcing.start": 0.0, "acoustic.teacher_forcing.end": 0.0}
FREE_PITCH = {"acoustic.pitch.stop_gradient": False}
VARIANTS: dict[str, dict[str, Any]] = {
    "DTW, R = 3, teacher forcing, pitch gradient stopped": {},
    "attention of a teacher": {"align.method": "attention"},
    "learned alignment": {"align.method": "learned"},
    "R = 1": {"acoustic.reduction.factor": 1},
    "R = 2": {"acoustic.reduction.factor": 2},
    "R = 4": {"acoustic.reduction.factor": 4},
    "no teacher forcing": NO_FORCING,
    "pitch gradient flows": FREE_PITCH,
    "energy gradient stopped": {"acoustic.energy.stop_gradient": True},
    "Muon, twice the learning rate": {
        "acoustic.training.optimizer.name": "muon", "acoustic.training.schedule.learning_rate": 2e-3},
}
MEASURES = {
    "validation/mcd_db": "free-running MCD, dB",
    "validation/postnet": "mel",
    "validation_teacher_forced/postnet": "mel, prosody given",
    "train/postnet": "mel, training",
    "validation/pitch": "pitch",
    "train/pitch": "pitch, training",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(), help="root of the project with data/")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, one a run")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2, help="of one thread each")
    parser.add_argument("--aligners", type=Path, default=Path("models/aligner"), help="where trained aligners are kept")
    options = parser.parse_args()
    values = read_values()
    done = {(run["variant"], run["seed"]) for run in _read(options.out)}
    jobs = [(name, seed) for seed in range(options.seeds) for name in VARIANTS if (name, seed) not in done]
    with ProcessPoolExecutor(options.processes, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        prepared = [pool.submit(_prepare_aligner, values, method, options.data, options.aligners)
                    for method in ("attention", "learned")]
        for aligner in prepared:
            aligner.result()
        futures = [pool.submit(train, values, name, seed, options.steps, options.data, options.aligners)
                   for name, seed in jobs]
        for (name, seed), future in zip(jobs, futures, strict=True):
            run = {"variant": name, "seed": seed, "steps": options.steps, **future.result()}
            with options.out.open("a") as file:
                file.write(json.dumps(run) + "\n")
            print(f"{name}, seed {seed}: {run['validation/mcd_db']:.3f} dB in {run['seconds']:.0f} s", flush=True)
    print(table(list(_read(options.out))))


def params_of(values: Mapping[str, Any], changes: Mapping[str, Any]) -> Params:
    """params.yaml with changes by dotted name."""
    changed = deepcopy(dict(values))
    for name, value in changes.items():
        *sections, last = name.split(".")
        section = changed
        for part in sections:
            section = section[part]
        section[last] = value
    return check_params(changed)


def train(values: Mapping[str, Any], variant: str, seed: int, steps: int, data: Path, aligners: Path) -> dict[str, Any]:
    """One run: its final metrics on the test pairs, its last training losses, and its seconds."""
    watched = {f"acoustic.training.{name}": steps for name in ("steps", "validate_every", "checkpoint_every")}
    params = params_of(values, SMALL | watched | VARIANTS[variant])
    params = params.model_copy(update={"seed": params.seed + seed})
    pairs, dataset = read_pairs(data / "data/pairs"), Dataset(list(params.corpora), params.mel, data / "data")
    acoustic, factor = params.acoustic, params.acoustic.reduction.factor
    speakers = Speakers(acoustic.conditioning, tuple(sorted(set(directions_of(pairs)))),
                        read_statistics(data / "data/stats", params.mel), acoustic.normalize_target)
    aligner = aligner_of(params.align.method, params.mel, params.align, factor, aligners)
    kept = pairs_in(pairs, "train") + pairs_in(pairs, "test")
    durations = {pair.name: align_pair(aligner, _side(dataset, pair.source), _side(dataset, pair.target), params.mel,
                                       params.align, factor).durations for pair in kept}
    initial = initial_network(acoustic, params.mel, speakers, params.seed)
    reader = PairReader(dataset, durations, initial.speakers, acoustic.reduction)
    task = AcousticTask(initial.network, acoustic, reader, pairs_in(pairs, "train"), pairs_in(pairs, "test"),
                        params.seed, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as folder:
        session = Session("findings", {"variant": variant, "seed": seed}, Path(folder) / "curves", root=Path(folder))
        began = time.perf_counter()
        measured = loop.train(task, session).values
        return {**measured, **session.latest("train/"), "seconds": time.perf_counter() - began,
                "parameters": sum(parameter.numel() for parameter in initial.network.parameters())}


def _side(dataset: Dataset, utterance: str) -> Side:
    return Side(dataset.mel(utterance), speaker_key(utterance))


def _prepare_aligner(values: Mapping[str, Any], method: str, data: Path, folder: Path) -> None:
    """Trains an aligner as the stage train_aligner does, unless it exists already."""
    if (folder / method).exists():
        return
    params = params_of(values, {**SMALL, "align.method": method})
    section, factor = network_params(method, params.align), params.acoustic.reduction.factor
    pairs, dataset = read_pairs(data / "data/pairs"), Dataset(list(params.corpora), params.mel, data / "data")
    speakers = read_statistics(data / "data/stats", params.mel).speakers
    reader = StepReader({name: statistics.mel for name, statistics in speakers.items()}, factor)
    network = initial_aligner(method, section, params.mel.n_mels, factor, params.seed)
    aligned = AlignedPairs(dataset, reader, pairs_in(pairs, "train"), pairs_in(pairs, "validation"))
    task = AlignerTask(method, network, section.training, aligned, params.seed, torch.device("cpu"))
    with tempfile.TemporaryDirectory() as work:
        loop.train(task, Session(method, {}, Path(work) / "curves", root=Path(work)))
    save_aligner(folder / method, method, task.model, reader, params.mel, {"by": "benchmarks/findings.py"})


def _read(path: Path) -> Iterator[dict[str, Any]]:
    if path.exists():
        yield from map(json.loads, path.read_text().splitlines())


def table(runs: list[dict[str, Any]]) -> str:
    """A Markdown table: a row per variant, with means and sample deviations over its seeds."""
    lines = ["| | " + " | ".join(MEASURES.values()) + " |", "|---" * (len(MEASURES) + 1) + "|"]
    for variant in VARIANTS:
        seeds = [run for run in runs if run["variant"] == variant]
        if seeds:
            columns = ([run[name] for run in seeds] for name in MEASURES)
            lines.append(f"| {variant} | " + " | ".join(
                f"{np.mean(column):.3f} ± {np.std(column, ddof=1) if len(column) > 1 else 0:.3f}" for column in columns
            ) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
