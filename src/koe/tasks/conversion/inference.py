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
from koe.tasks.conversion.reduction import frames_a_value

BATCH_SIZE = 8  # utterances computed together: enough to keep two cores busy, and bounded memory
RANGES = {"pitch": (-24.0, 24.0), "energy": (0.1, 10.0), "speed": (0.25, 4.0)}


@dataclass(frozen=True)
class Adjustment:
    """What a conversion changes beside the voice; by default nothing.

    pitch: semitones up; energy: factor of the amplitude; speed: 2.0 is twice as fast. Raises KoeError outside RANGES.
    """

    pitch: float = 0.0
    energy: float = 1.0
    speed: float = 1.0

    def __post_init__(self) -> None:
        for name, (low, high) in RANGES.items():
            if not low <= (value := getattr(self, name)) <= high:
                raise KoeError(f"--{name} {value:g}: expected a number from {low:g} to {high:g}")

    def control(self, targets: list[Statistics]) -> Control:
        """The same in each target speaker's normalised units, for a batch."""
        log_f0, log_amplitude = self.pitch * np.log(2) / 12, np.log(self.energy)
        pitch = [target.normalize_log_f0(np.asarray(target.log_f0.mean + log_f0)) for target in targets]
        energy = [target.normalize_energy(np.asarray(target.energy.mean + log_amplitude)) for target in targets]
        return Control(*(torch.tensor(np.array(values), dtype=torch.float32)
                         for values in (pitch, energy, [self.speed] * len(targets))))


NEUTRAL = Adjustment()


@dataclass(frozen=True)
class Conversion:
    """One converted utterance.

    mel (frames, M) log-mel, not normalised; f0 (frames,) Hz as predicted and adjusted, 0 where the source's step is
    unvoiced; energy (frames,) likewise; durations (S,) the target steps given to each source step.
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
    adjustment: Adjustment = NEUTRAL,
) -> list[Conversion]:
    """Converts normalised source items, batched by similar length, returned in their order.

    The same call gives the same bits (on the CPU); in another batch an utterance differs by rounding alone.

    Args:
        normalize_target: whether the network predicts normalised mels.
        durations: whole target steps for each item's source steps; predicted when not given.
        frames: true target lengths, with `durations`: the last, partial step is cut to them.
        adjustment: changes of pitch, energy and, where durations are predicted, speed.
    """
    network.eval()
    reduction = network.reduction
    order = sorted(range(len(items)), key=lambda index: len(items[index].mel))
    found: dict[int, Conversion] = {}
    for start in range(0, len(order), batch_size):
        members = order[start : start + batch_size]
        source = source_batch([items[index] for index in members]).to(device)
        control = adjustment.control([items[index].target for index in members]).to(device)
        given = None
        if durations is not None:
            given = pad([durations[index].astype(np.int64) for index in members]).to(device)
        output = network(source, given, control=control)
        output = replace(output, pitch=output.pitch + control.pitch[:, None],
                         energy=output.energy + control.energy[:, None])
        for row, index in enumerate(members):
            steps = int(output.steps[row])
            length = steps * reduction.factor if frames is None else frames[index]
            if steps_of(length, reduction.factor) != steps:
                raise KoeError(f"item {index}: {length} frames asked for, its durations make {steps} steps")
            found[index] = _conversion(output, row, items[index], length, normalize_target, reduction)
    return [found[index] for index in range(len(items))]


def _conversion(
    output: Output, row: int, item: SourceItem, frames: int, normalize_target: bool, reduction: ReductionParams
) -> Conversion:
    """Cuts one utterance out of a batch, denormalised."""
    mel = output.mel[row, :frames].float().cpu().numpy()
    if normalize_target:
        mel = item.target.denormalize_mel(mel)
    positions, grid = _value_positions(frames, reduction), np.arange(frames)
    log_f0 = item.target.denormalize_log_f0(output.pitch[row, : len(positions)].float().cpu().numpy())
    energy = item.target.denormalize_energy(output.energy[row, : len(positions)].float().cpu().numpy())
    durations = output.whole_durations[row, : len(item.voiced)].cpu().numpy().astype(np.int32)
    sounding = np.repeat(item.voiced, durations * reduction.factor)[:frames]
    return Conversion(
        mel=mel.astype(np.float32),
        f0=np.where(sounding, np.exp(np.interp(grid, positions, log_f0)), 0).astype(np.float32),
        energy=np.interp(grid, positions, energy).astype(np.float32),
        durations=durations,
    )


def _value_positions(frames: int, reduction: ReductionParams) -> np.ndarray:
    """Where, in frames, the values of pitch and energy are: at the first of their frames, or amid their real ones."""
    first = np.arange(0, frames, frames_a_value(reduction))
    if reduction.prosody_by == "slice":
        return first
    return (first + np.minimum(first + frames_a_value(reduction), frames) - 1) / 2
