"""Why features are packed: through DVC to a remote and back, in shards and with a file for every array.

    python benchmarks/store.py --utterances 30000

Both sides have the same arrays (mel, F0 and energy of utterances of about a second), each in a DVC repository of its
own with a remote on the same disk, which leaves out the network, where small files are slower still. `files` has mel,
f0 and energy of every utterance as .npy, as in the research log. Prints seconds a step and, last, lines `ratio
store_<step> <files over shards>`.
"""

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from koe.audio.grid import frame_rate, mel_contract
from koe.store import ShardReader, ShardWriter
from koe.tasks.conversion.schema import load_params

FIELDS = ("mel", "f0", "energy")
SECONDS = 8.0  # for the runs of one step, repeated because disk speed varies


def features(utterances: int, frame_rate: float, n_mels: int) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Names and arrays of utterances of two speakers."""
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((round(2 * frame_rate), n_mels)).astype(np.float32)
    for number in range(utterances):
        mel = noise[:generator.integers(round(0.7 * frame_rate), round(1.3 * frame_rate))] + np.float32(number)
        yield f"bench/s{number % 2}/{number:06d}", {"mel": mel, "f0": mel[:, 0], "energy": mel[:, 1]}


def unpack(readers: list[ShardReader], folder: Path) -> None:
    """Writes every array of some shards as a file of its own: folder/<field>/<utterance>.npy."""
    for reader in readers:
        for utterance in reader:
            for field in FIELDS:
                path = folder / field / f"{utterance}.npy"
                path.parent.mkdir(parents=True, exist_ok=True)
                np.save(path, reader.get(utterance, field))


def transfer(repository: Path, data: str) -> dict[str, float]:
    """Seconds to add, push and pull the folder `data` of `repository`, which becomes a DVC repository."""
    remote = repository.with_name(f"{repository.name}-remote")

    def dvc(*arguments: str) -> float:
        os.sync()  # so that this step does not wait for earlier writes
        start = time.perf_counter()
        subprocess.run(["dvc", *arguments, "--quiet"], cwd=repository, check=True)
        return time.perf_counter() - start

    def shortest(command: str, *written: Path) -> float:
        """The shortest of as many runs as fit into SECONDS, each after removing what the previous one wrote."""
        seconds: list[float] = []
        while sum(seconds) < SECONDS:
            for folder in written:
                shutil.rmtree(folder, ignore_errors=True)
            seconds.append(dvc(command))
        return min(seconds)

    dvc("init", "--no-scm")
    dvc("remote", "add", "--default", "disk", str(remote))
    return {"add": dvc("add", data), "push": shortest("push", remote),
            "pull": shortest("pull", repository / data, repository / ".dvc" / "cache")}


def compare(prepare: dict[str, Callable[[Path], object]], root: Path) -> pd.DataFrame:
    """Seconds by step, a column for each side; `prepare` writes a side's data into a folder."""
    seconds = {}
    for side, write in prepare.items():
        write(root / side / "data")
        seconds[side] = transfer(root / side, "data")
        shutil.rmtree(root / side)
        shutil.rmtree(root / f"{side}-remote")
    return pd.DataFrame(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--utterances", type=int, default=30_000, help="(default: %(default)s)")
    utterances = parser.parse_args().utterances
    mel = load_params().mel

    def pack(folder: Path) -> None:
        with ShardWriter(folder, {"mel": mel_contract(mel)}) as writer:
            for name, arrays in features(utterances, frame_rate(mel), mel.n_mels):
                writer.add(name, **arrays)

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        pack(root / "packed")
        packed = ShardReader(root / "packed")
        table = compare({"shards": lambda data: shutil.copytree(root / "packed", data),
                         "files": lambda data: unpack([packed], data)}, root)
        size = sum(path.stat().st_size for path in packed.folder.iterdir())
    print(f"{utterances} utterances, {size / 2**20:.0f} MiB; seconds a step:")
    print(table.to_string(float_format="{:.2f}".format))
    for step in ("push", "pull"):
        print(f"ratio store_{step} {table.loc[step, 'files'] / table.loc[step, 'shards']:.2f}")


if __name__ == "__main__":
    main()
