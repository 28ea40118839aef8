"""The network: shapes, masks, the length regulator, and that every option trains."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_parameters import shrink_acoustic

from koe.acoustic.data import Batch
from koe.acoustic.losses import acoustic_losses, weighted_sum
from koe.acoustic.nars2s import NARS2S, Prosody, Source, regulate_length, round_durations
from koe.acoustic.reduction import batch_steps
from koe.acoustic.speakers import EMBEDDING_SIZE
from koe.params import AcousticParams, check_params

BANDS = 8


def tiny(values: dict[str, Any], **changes: Any) -> AcousticParams:
    """The project's acoustic parameters at a size that runs in milliseconds."""
    acoustic = values["acoustic"]
    shrink_acoustic(acoustic, 16)
    for name in ("encoder", "decoder", "duration", "pitch", "energy", "postnet"):
        acoustic[name]["dropout"] = 0.0
    acoustic |= changes
    return check_params(values).acoustic


SPEAKERS = 3


def random_voices(batch: int, by: str) -> torch.Tensor | None:
    if by == "learned":
        return torch.randint(0, SPEAKERS, (batch, 2))
    return torch.randn(batch, 2, EMBEDDING_SIZE) if by == "encoder" else None


def random_source(steps: list[int], factor: int, by: str = "none") -> Source:
    longest = max(steps)
    mel = torch.randn(len(steps), longest, factor * BANDS)
    prosody = torch.randn(2, len(steps), longest)
    return Source(mel, prosody[0], prosody[1], torch.tensor(steps), random_voices(len(steps), by))


def random_batch(steps: list[int], factor: int, by: str = "none") -> Batch:
    source = random_source(steps, factor, by)
    mask = torch.arange(max(steps))[None] < torch.tensor(steps)[:, None]
    durations = torch.randint(0, 3, mask.shape) * mask
    durations[:, 0] += 1
    target_steps = durations.sum(dim=1)
    frames = target_steps * factor - (factor - 1)  # one real frame in the last step
    longest = batch_steps(int(target_steps.max()))
    return Batch(
        source, durations, torch.randn(len(steps), longest * factor, BANDS), frames,
        Prosody(torch.randn(len(steps), longest), torch.randn(len(steps), longest)),
    )


@pytest.mark.parametrize("factor", [1, 2, 3, 6])
def test_shapes(values: dict[str, Any], factor: int) -> None:
    network = NARS2S(tiny(values, reduction_factor=factor), BANDS)
    batch = random_batch([7, 4], factor)
    output = network(batch.source, batch.durations)
    target_steps = batch_steps(int(batch.durations.sum(dim=1).max()))
    assert output.mel.shape == output.mel_before.shape == (2, target_steps * factor, BANDS)
    assert output.pitch.shape == output.energy.shape == (2, target_steps)
    assert output.durations.shape == (2, 7)


def test_lesson_31_padding_does_not_change_an_utterance(values: dict[str, Any]) -> None:
    torch.manual_seed(0)
    network = NARS2S(tiny(values), BANDS).eval()
    batch = random_batch([9, 5], 3)
    both = network(batch.source, batch.durations)
    alone_source = Source(*(tensor[1:, :5] for tensor in (batch.source.mel, batch.source.pitch, batch.source.energy)),
                          batch.source.steps[1:])
    alone = network(alone_source, batch.durations[1:, :5])
    frames = int(batch.durations[1].sum()) * 3
    assert torch.allclose(both.mel[1, :frames], alone.mel[0, :frames], atol=1e-5)


@given(st.lists(st.floats(0, 5), min_size=1, max_size=30))
def test_rounding_keeps_the_sum_and_at_least_one_step(durations: list[float]) -> None:
    real = torch.tensor([durations])
    whole = round_durations(real, torch.ones_like(real, dtype=torch.bool))
    assert (whole >= 0).all()
    assert int(whole.sum()) == max(1, round(float(real.double().sum())))
    assert ((whole.cumsum(1) - real.double().cumsum(1)).abs()[:, :-1] <= 0.5 + 1e-6).all()


@given(st.lists(st.integers(0, 4), min_size=1, max_size=20).filter(any))
def test_length_regulator_repeats(durations: list[int]) -> None:
    x = torch.arange(len(durations), dtype=torch.float32)[None, :, None]
    regulated = regulate_length(x, torch.tensor([durations]), sum(durations))
    expected = torch.arange(len(durations)).repeat_interleave(torch.tensor(durations)).float()
    assert torch.equal(regulated[0, :, 0], expected)


@pytest.mark.parametrize("changes", [
    {}, {"reduction_factor": 1}, {"teacher_forcing": False}, {"normalize_target": False},
    {"pitch": {"layers": 5, "kernel": 5, "filter": 16, "dropout": 0.5, "stop_gradient": False}},
    {"postnet": {"layers": 0, "kernel": 5, "filter": 16, "dropout": 0.0}},
    {"encoder": {"layers": 2, "heads": 4, "feed_forward": 16, "kernel": 3, "dropout": 0.2}},
    {"conditioning": {"by": "learned", "level": "speaker", "size": 6}},
    {"conditioning": {"by": "encoder", "level": "utterance", "size": 6}},
], ids=lambda changes: ",".join(changes) or "default")
def test_every_option_trains(values: dict[str, Any], changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    params = tiny(values, **changes)
    network = NARS2S(params, BANDS, SPEAKERS)
    batch = random_batch([6, 3, 1], params.reduction_factor, params.conditioning.by)
    prosody = batch.prosody if params.teacher_forcing else None
    losses = acoustic_losses(network(batch.source, batch.durations, prosody), batch)
    weighted_sum(losses, params.loss_weights).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("predictor", ["duration", "pitch", "energy"])
@pytest.mark.parametrize("stopped", [True, False])
def test_lesson_02_stop_gradient_is_a_parameter_of_each_predictor(
    values: dict[str, Any], predictor: str, stopped: bool
) -> None:
    values["acoustic"][predictor]["stop_gradient"] = stopped
    network = NARS2S(tiny(values), BANDS)
    batch = random_batch([6, 3], 3)
    losses = acoustic_losses(network(batch.source, batch.durations, batch.prosody), batch)
    losses[predictor].backward()
    reached = network.reduce.weight.grad is not None and bool(network.reduce.weight.grad.abs().sum() > 0)
    assert reached is not stopped


@pytest.mark.parametrize("by", ["learned", "encoder"])
@pytest.mark.parametrize("side", [0, 1])
def test_lesson_22_both_speakers_are_heard(values: dict[str, Any], by: str, side: int) -> None:
    """Another source or target speaker changes the mel, the durations and the prosody."""
    torch.manual_seed(0)
    network = NARS2S(tiny(values, conditioning={"by": by, "level": "speaker", "size": 6}), BANDS, SPEAKERS).eval()
    source = random_source([9, 5], 3, by)
    other = source.voices.clone()
    other[:, side] = (other[:, side] + 1) % SPEAKERS if by == "learned" else -other[:, side]
    durations = torch.ones(2, 9, dtype=torch.long)
    one, two = (network(replace(source, voices=voices), durations) for voices in (source.voices, other))
    for part in ("mel", "durations", "pitch", "energy"):
        assert not torch.allclose(getattr(one, part), getattr(two, part), atol=1e-6), part


def test_masked_frames_do_not_count(values: dict[str, Any]) -> None:
    network = NARS2S(tiny(values), BANDS).eval()
    batch = random_batch([6, 3], 3)
    first = acoustic_losses(network(batch.source, batch.durations), batch)
    batch.target_mel[1, int(batch.target_frames[1]) :] = 1e6
    second = acoustic_losses(network(batch.source, batch.durations), batch)
    assert float(first["postnet"]) == float(second["postnet"])
