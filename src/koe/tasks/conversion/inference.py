"""Running the acoustic model: batches of source items in, mels cut to their true length out (lesson 31)."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from koe.corpus.statistics import Statistics
from koe.errors import KoeError
from koe.steps import steps_of
from koe.tasks.conversion.data import SourceItem, pad, source_batch
from koe.tasks.conversion.nars2s import NARS2S, Control, Output
from koe.tasks.conversion.params import ReductionParams
from koe.tasks.conversion.reduction import frames_per_value

BATCH_SIZE = 8  # utterances computed together: enough to keep two cores busy, and bounded memory
RANGES = {"pitch": (-24.0, 24.0), "energy": (0.1, 10.0), "speed": (0.25, 4.0)}


@dataclass(frozen=True)
class Adjustment:
    """Changes beside the voice; none by default. Raises KoeError outside RANGES."""

    pitch: float = 0.0  # semitones up
    energy: float = 1.0  # factor of the amplitude
    speed: float = 1.0  # 2.0 is twice as fast

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise KoeError(f"--{name} {value:g}: expected a number from {low:g} to {high:g}")

    def control(self, targets: list[Statistics]) -> Control:
        """The adjustment in each target speaker's normalised units, for a batch."""
        log_f0, log_amplitude = self.pitch * np.log(2) / 12, np.log(self.energy)
        pitch = [target.normalize_log_f0(np.asarray(target.log_f0.mean + log_f0)) for target in targets]
        energy = [target.normalize_energy(np.asarray(target.energy.mean + log_amplitude)) for target in targets]
        return Control(
            pitch=torch.tensor(np.array(pitch), dtype=torch.float32),
            energy=torch.tensor(np.array(energy), dtype=torch.float32),
            speed=torch.tensor(np.array([self.speed] * len(targets)), dtype=torch.float32),
        )


NEUTRAL = Adjustment()


@dataclass(frozen=True)
class Conversion:
    """One converted utterance."""

    mel: np.ndarray  # (frames, M) log-mel, not normalised
    f0: np.ndarray  # (frames,) Hz, as predicted and adjusted; 0 where the source's step is unvoiced
    energy: np.ndarray  # (frames,) as predicted and adjusted, not normalised
    durations: np.ndarray  # (S,) target steps of each source step


@torch.no_grad()
def convert_items(
    network: NARS2S,
    items: list[SourceItem],
    normalize_target: bool,
    batch_size: int,
    device: torch.device,
    durations: list[np.ndarray] | None = None,
    frames: list[int] | None = None,
    adjustment: Adjustment = NEUTRAL,
) -> list[Conversion]:
    """Converts normalised source items, batched by similar length, and returns them in their order.

    The same call gives the same bits (on the CPU); in another batch an utterance differs only by rounding.

    Args:
        normalize_target: whether the network predicts normalised mels.
        durations: whole target steps of each item's source steps; None: predicted.
        frames: true target lengths, to which the last, partial step is cut; only with `durations`.
        adjustment: changes of pitch, energy and, where durations are predicted, speed.
    """
    network.eval()
    reduction = network.reduction
    order = sorted(range(len(items)), key=lambda index: len(items[index].mel))
    conversions: dict[int, Conversion] = {}
    for start in range(0, len(order), batch_size):
        members = order[start : start + batch_size]
        source = source_batch([items[index] for index in members]).to(device)
        control = adjustment.control([items[index].target for index in members]).to(device)
        forced = None
        if durations is not None:
            forced = pad([durations[index].astype(np.int64) for index in members]).to(device)
        output = network(source, forced, control=control)
        output = replace(output, pitch=output.pitch + control.pitch[:, None],
                         energy=output.energy + control.energy[:, None])
        for row, index in enumerate(members):
            steps = int(output.steps[row])
            length = steps * reduction.factor if frames is None else frames[index]
            if steps_of(length, reduction.factor) != steps:
                raise KoeError(f"item {index}: its durations add up to {steps} steps, which are not {length} frames")
            conversions[index] = _conversion(output, row, items[index], length, normalize_target, reduction)
    return [conversions[index] for index in range(len(items))]


def _conversion(
    output: Output, row: int, item: SourceItem, frames: int, normalize_target: bool, reduction: ReductionParams
) -> Conversion:
    """Cuts one utterance out of a batch and denormalises it."""
    mel = output.mel[row, :frames].float().cpu().numpy()
    if normalize_target:
        mel = item.target.denormalize_mel(mel)
    positions, grid = _value_positions(frames, reduction), np.arange(frames)
    log_f0 = item.target.denormalize_log_f0(output.pitch[row, : len(positions)].float().cpu().numpy())
    energy = item.target.denormalize_energy(output.energy[row, : len(positions)].float().cpu().numpy())
    durations = output.whole_durations[row, : len(item.voiced)].cpu().numpy().astype(np.int32)
    voiced = np.repeat(item.voiced, durations * reduction.factor)[:frames]
    return Conversion(
        mel=mel.astype(np.float32),
        f0=np.where(voiced, np.exp(np.interp(grid, positions, log_f0)), 0).astype(np.float32),
        energy=np.interp(grid, positions, energy).astype(np.float32),
        durations=durations,
    )


def _value_positions(frames: int, reduction: ReductionParams) -> np.ndarray:
    """Positions of values of pitch and energy, in frames: the first of their frames, or the middle of the real ones."""
    first = np.arange(0, frames, frames_per_value(reduction))
    if reduction.prosody_by == "slice":
        return first
    return (first + np.minimum(first + frames_per_value(reduction), frames) - 1) / 2
