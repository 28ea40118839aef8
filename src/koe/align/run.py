"""One training run of an aligner, from its data to the folder that it leaves."""

from pathlib import Path

from koe.align.neural import NetworkParams, save_aligner
from koe.align.training import AlignedPairs, AlignerTask, initial_network
from koe.audio.params import MelParams
from koe.device import resolve_device
from koe.training.loop import train
from koe.training.session import Session


def train_aligner(
    method: str, params: NetworkParams, mel_params: MelParams, data: AlignedPairs, seed: int, inputs: str, code: str,
    revision: str, curves: Path, folder: Path,
) -> None:
    """Trains the network of `method`, with curves in `curves`, and writes the aligner into `folder`.

    `inputs`: fingerprint of the data; `code`: digest of the code that runs; `revision`: the commit, which
    the model records (lesson 1). A run that was killed continues if neither data nor code nor any parameter has
    changed (koe.training.session).
    """
    factor = data.reader.factor
    network = initial_network(method, params, mel_params.n_mels, factor, seed)
    task = AlignerTask(method, network, params.training, data, seed, resolve_device())
    identity = {"seed": seed, "method": method, "params": params.model_dump(mode="json"), "factor": factor,
                "inputs": inputs, "code": code}
    session = Session(f"aligner-{method}", identity, curves)
    train(task, session)
    save_aligner(folder, method, task.model, data.reader, mel_params, {**identity, "revision": revision})
    session.finish()
