"""How long until the acoustic model is good: a plain training from scratch against Koe's default, on the same pairs.

    dvc repro align embed                           # recordings, features, pairs, durations, statistics
    python benchmarks/time_to_quality.py

`plain` is the network of benchmarks/acoustic.py at the size of params.yaml (the research log's style: loops in the
length regulator, relative positions, batch norm, logarithmic durations), trained in float32 by AdamW with a warm-up and
a cosine over `--plain-steps`, from random weights. `koe` is what dvc repro does by params.yaml: its start, its
optimizer, its schedule, its precision. Both convert the validation sentences free-running every `--every` seconds of
training, from the source alone, until the mean mel-cepstral distortion is at most `--distortion`. Only training is
timed, not the conversions.

Prints the distortions by seconds, and a line `ratio time_to_quality <value>`: the plain one's seconds over Koe's, or
that it was not reached within `--minutes`.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from acoustic import PlainNARS2S, PlainTrainer

from koe.align.pairs import read_durations, read_positions
from koe.corpus.dataset import Dataset
from koe.corpus.pairing import directions_of, pairs_in, read_pairs
from koe.corpus.statistics import read_statistics
from koe.device import described
from koe.names import Pair
from koe.params.reading import read_values
from koe.pipeline.models import find_model
from koe.tasks.conversion.data import PairReader
from koe.tasks.conversion.embedding import SPEAKERS, UTTERANCES, read_embeddings
from koe.tasks.conversion.initial import initial_network
from koe.tasks.conversion.model_kind import ACOUSTIC
from koe.tasks.conversion.params import AcousticParams
from koe.tasks.conversion.schema import Params, check_params
from koe.tasks.conversion.speakers import Speakers
from koe.tasks.conversion.training import AcousticTask
from koe.tasks.conversion.validation import JUDGED_BY, validate
from koe.training.averaging import update_average

CPU = torch.device("cpu")
PLAIN = {"encoder": {"positions": "relative", "norm": "batch"}, "decoder": {"positions": "relative", "norm": "batch"},
         "postnet": {"norm": "batch"}, "loss": {"duration": "log"}, "training": {"replicas": 1, "ema": None}}
PLAIN_RATE, PLAIN_WARMUP = 1.0e-3, 40


def data_of(params: Params, folder: Path) -> tuple[Dataset, list[Pair], list[Pair], Speakers, dict[str, Any]]:
    """What stage train_acoustic reads: dataset, pairs of training and validation, speakers, and the rest by name."""
    dataset, pairs = Dataset(list(params.corpora), params.mel, folder), read_pairs(folder / "pairs")
    acoustic = params.acoustic
    directions = tuple(sorted(set(directions_of(pairs[pairs["split"] == "train"]))))
    speakers = Speakers(acoustic.conditioning, directions, read_statistics(folder / "stats", params.mel),
                        acoustic.normalize_target, read_embeddings(folder / "speakers" / SPEAKERS))
    rest = {"durations": read_durations(folder / "alignment", dataset, pairs, acoustic.reduction.factor),
            "embeddings": read_embeddings(folder / "speakers" / UTTERANCES),
            "positions": read_positions(folder / "alignment", pairs) if acoustic.training.shift else None}
    return dataset, pairs_in(pairs, "train"), pairs_in(pairs, "validation"), speakers, rest


def plain_steps(params: AcousticParams, task: AcousticTask, network: PlainNARS2S) -> Iterator[None]:
    """Steps of the plain training, on the batches of `task`."""
    trainer = PlainTrainer(network, params, torch.optim.AdamW)
    for step in range(1, task.total_steps + 1):
        [items] = task.batching.batches_at(step - 1)
        trainer.step(task.reader.batch([task.train[item] for item in items]), task.learning_rate(step))
        yield


def koe_steps(task: AcousticTask) -> Iterator[None]:
    """Steps of Koe's training."""
    with task.resources():
        for step in range(1, task.total_steps + 1):
            task.step(step, task.read(step))
            if task.average is not None:
                update_average(task.average, task.network, task.training.ema or 0.0, step - 1)
            yield


def seconds_to(
    distortion: float, steps: Iterator[None], measure: Callable[[], dict[str, float]], every: float, limit: float
) -> float | None:
    """Seconds of training until `measure` is at most `distortion`; None if that is not so after `limit` seconds."""
    spent, looked = 0.0, 0.0
    while spent < limit:
        start = time.perf_counter()
        ended = next(steps, "ended") == "ended"
        spent += time.perf_counter() - start
        if spent - looked >= every or ended:
            looked = spent
            found = measure()[JUDGED_BY]
            print(f"  {spent:6.0f} s  {found:.3f} dB", flush=True)
            if found <= distortion:
                return spent
        if ended:
            return None
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--distortion", type=float, default=1.95, help="dB (default: %(default)s)")
    parser.add_argument("--every", type=float, default=10.0, help="seconds of training (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=60.0, help="at most, of each (default: %(default)s)")
    parser.add_argument("--plain-steps", type=int, default=2000, help="default: %(default)s")
    options = parser.parse_args()

    values = read_values()
    koe = check_params(values)
    for section, changes in PLAIN.items():
        values["acoustic"][section] |= changes
    values["acoustic"]["training"] |= {"steps": options.plain_steps, "precision": "float32"}
    values["acoustic"]["training"]["schedule"] |= {
        "name": "cosine_per_step", "learning_rate": PLAIN_RATE, "warmup_steps": PLAIN_WARMUP}
    values["acoustic"]["init"]["from"] = None
    plain = check_params(values)

    dataset, train, validation, speakers, rest = data_of(koe, options.data)
    taken: dict[str, float | None] = {}
    for name, params in (("koe", koe), ("plain", plain)):
        acoustic = params.acoustic
        torch.manual_seed(params.seed)
        start = find_model(ACOUSTIC, acoustic.init.origin) if acoustic.init.origin else None
        initial = initial_network(acoustic, params.mel, speakers, params.seed, start)
        reader = PairReader(dataset, rest["durations"], initial.speakers, acoustic.reduction, rest["embeddings"],
                            rest["positions"])
        task = AcousticTask(initial.network, acoustic, reader, train, validation, params.seed, CPU)
        network: Any = PlainNARS2S(acoustic, params.mel.n_mels) if name == "plain" else task.watched
        steps = plain_steps(acoustic, task, network) if isinstance(network, PlainNARS2S) else koe_steps(task)
        precision = "float32" if name == "plain" else task.precision
        print(f"{name}: {sum(parameter.numel() for parameter in network.parameters()) / 1e6:.2f} M parameters, "
              f"{task.total_steps} steps, on {described(CPU, precision, acoustic.training.precision)}")

        measured = partial(validate, network, reader, validation, acoustic, CPU)
        taken[name] = seconds_to(options.distortion, steps, measured, options.every, 60 * options.minutes)
    for name, seconds in taken.items():
        print(f"{name}: {'not reached' if seconds is None else f'{seconds:.0f} s'}")
    if taken["koe"] and taken["plain"]:
        print(f"ratio time_to_quality {taken['plain'] / taken['koe']:.2f}")


if __name__ == "__main__":
    main()
