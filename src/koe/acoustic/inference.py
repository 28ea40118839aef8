"""Running the acoustic model: batches of source items in, mels cut to their true length out (lesson 31)."""

from dataclasses import dataclass

import numpy as np
import torch

from koe.acoustic.data import SourceItem, pad, source_batch
from koe.acoustic.nars2s import NARS2S, Output
from koe.acoustic.reduction import steps_of
from koe.errors import KoeError


@dataclass(frozen=True)
class Conversion:
    """One converted utterance.

    mel (frames, M) log-mel, not normalised; f0 (frames,) Hz as predicted, 0 where the source's step is unvoiced;
    energy (frames,); durations (S,) the target steps given to each source step.
    """

    mel: np.ndarray
    f0: np.ndarray
    energy: np.ndarray
    durations: np.ndarray


@torch.no_grad()
def convert_items(
    network: NARS2S,
    items: list[SourceItem],
    normalize_target: bool,
    batch_size: int,
    device: torch.device,
    durations: list[np.ndarray] | None = None,
    frames: list[int] | None = None,
) -> list[Conversion]:
    """Converts normalised source items, batched by similar length, returned in their order.

    Args:
        normalize_target: whether the network predicts normalised mels.
        durations: whole target steps for each item's source steps; predicted when not given.
        frames: true target lengths, with `durations`: the last, partial step is cut to them.
    """
    network.eval()
    order = sorted(range(len(items)), key=lambda index: len(items[index].mel))
    found: dict[int, Conversion] = {}
    for start in range(0, len(order), batch_size):
        members = order[start : start + batch_size]
        source = source_batch([items[index] for index in members]).to(device)
        given = None
        if durations is not None:
            given = pad([durations[index].astype(np.int64) for index in members]).to(device)
        output = network(source, given)
        for row, index in enumerate(members):
            steps = int(output.steps[row])
            length = steps * network.reduction_factor if frames is None else frames[index]
            if steps_of(length, network.reduction_factor) != steps:
                raise KoeError(f"item {index}: {length} frames asked for, its durations make {steps} steps")
            found[index] = _conversion(
                output, row, items[index], length, normalize_target, network.reduction_factor)
    return [found[index] for index in range(len(items))]


def _conversion(
    output: Output, row: int, item: SourceItem, frames: int, normalize_target: bool, factor: int
) -> Conversion:
    """Cuts one utterance out of a batch, denormalised."""
    steps = steps_of(frames, factor)
    mel = output.mel[row, :frames].float().cpu().numpy()
    if normalize_target:
        mel = item.target.denormalize_mel(mel)
    log_f0 = item.target.denormalize_log_f0(output.pitch[row, :steps].float().cpu().numpy())
    energy = item.target.denormalize_energy(output.energy[row, :steps].float().cpu().numpy())
    centres = (np.arange(steps) + 0.5) * factor - 0.5
    grid = np.arange(frames)
    durations = output.whole_durations[row, : len(item.voiced)].cpu().numpy().astype(np.int32)
    sounding = np.repeat(np.repeat(item.voiced, durations), factor)[:frames]
    return Conversion(
        mel=mel.astype(np.float32),
        f0=np.where(sounding, np.exp(np.interp(grid, centres, log_f0)), 0).astype(np.float32),
        energy=np.interp(grid, centres, energy).astype(np.float32),
        durations=durations,
    )
