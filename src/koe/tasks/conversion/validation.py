"""Validation of the acoustic model during training: losses and free-running conversion of held-out pairs."""

from collections import defaultdict

import numpy as np
import torch

from koe.evaluation.mel_distortion import mel_cepstral_distortion_of_mels
from koe.names import Pair
from koe.tasks.conversion.data import PairReader
from koe.tasks.conversion.inference import BATCH_SIZE, convert_items
from koe.tasks.conversion.losses import PARTS, acoustic_losses
from koe.tasks.conversion.nars2s import NARS2S
from koe.tasks.conversion.params import AcousticParams

JUDGED_BY = "validation/mcd_db"  # by which validations are compared


@torch.no_grad()
def validate(
    network: NARS2S, reader: PairReader, pairs: list[Pair], params: AcousticParams, device: torch.device
) -> dict[str, float]:
    """Values by name: losses of each part with the target's durations and nothing else of the target
    (`validation/<part>`), and with the target's prosody too (`validation_teacher_forced/<part>`); the mel-cepstral
    distortion of free-running conversion, dB (lesson 28).

    Losses are means over the frames or steps of a batch, and over batches weighted by their numbers of pairs.
    """
    network.eval()
    sums: dict[str, float] = defaultdict(float)
    for start in range(0, len(pairs), BATCH_SIZE):
        members = pairs[start : start + BATCH_SIZE]
        batch = reader.batch(members).to(device)
        for name, prosody in (("validation", None), ("validation_teacher_forced", batch.prosody)):
            losses = acoustic_losses(network(batch.source, batch.durations, prosody), batch, params.loss)
            for part, loss in zip(PARTS, torch.stack([losses[part] for part in PARTS]).tolist(), strict=True):
                sums[f"{name}/{part}"] += loss * len(members)
    distortions = [
        mel_cepstral_distortion_of_mels(mel, reader.dataset.mel(pair.target))
        for mel, pair in zip(convert_pairs(network, reader, pairs, params, device), pairs, strict=True)
    ]
    return {**{name: total / len(pairs) for name, total in sums.items()}, JUDGED_BY: float(np.mean(distortions))}


def convert_pairs(
    network: NARS2S, reader: PairReader, pairs: list[Pair], params: AcousticParams, device: torch.device
) -> list[np.ndarray]:
    """Log-mels (frames, n_mels) of the pairs' sources, converted with nothing of the target known."""
    sources = [reader.source(pair) for pair in pairs]
    return [conversion.mel
            for conversion in convert_items(network, sources, params.normalize_target, BATCH_SIZE, device)]
