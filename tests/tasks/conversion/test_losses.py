"""Losses: masks, distances, durations, and what is compared in which mode."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from koe.nn.layers import length_mask
from koe.tasks.conversion.data import Batch
from koe.tasks.conversion.losses import (
    acoustic_losses,
    duration_loss,
    mel_distance,
    structural_similarity,
    weighted_sum,
)
from koe.tasks.conversion.nars2s import Output, Prosody, Source
from koe.tasks.conversion.params import AcousticLossParams, AcousticLossWeights, MelLossParams, ReductionParams

WEIGHTS = AcousticLossWeights(mel=1, postnet=1, duration=1, pitch=1, energy=1)
FRAMES = torch.tensor([11, 5])
MASK = length_mask(FRAMES, 12)


def mel_params(**weights: float) -> MelLossParams:
    return MelLossParams(**{"l1": 0.0, "l2": 0.0, "huber": 0.0, "ssim": 0.0} | weights)


def said_and_true(loss: str = "frames", by: str = "mean", prosody_factor: int = 3) -> tuple[Output, Batch]:
    """Two utterances of 11 and 5 frames, 3 a step, and what a model might have said of them."""
    reduction = ReductionParams(by=by, factor=3, loss=loss, prosody_by="mean", prosody_factor=prosody_factor)
    steps = torch.tensor([4, 2])
    values = -(-12 // prosody_factor)
    durations = length_mask(steps, 4).long()
    pitch, energy, true_pitch, true_energy = torch.randn(4, 2, values)
    mel_before, mel = torch.randn(2, 2, 4, 5).repeat_interleave(3, dim=2)
    source = Source(torch.randn(2, 4, 5), torch.randn(2, 4), torch.randn(2, 4), steps)
    output = Output(mel_before, mel, torch.rand(2, 4) * length_mask(steps, 4), durations, pitch, energy, steps)
    return output, Batch(source, durations, torch.randn(2, 12, 5), FRAMES, Prosody(true_pitch, true_energy), reduction)


@pytest.mark.parametrize("prosody_factor", [1, 3, 6])
@pytest.mark.parametrize(("by", "loss"), [("mean", "frames"), ("mean", "steps"), ("slice", "steps")])
def test_masked_frames_and_values_do_not_count(by: str, loss: str, prosody_factor: int) -> None:
    torch.manual_seed(0)
    output, batch = said_and_true(loss, by, prosody_factor)
    params = AcousticLossParams(mel=mel_params(l1=1, ssim=1), duration="guided", weights=WEIGHTS)
    first = acoustic_losses(output, batch, params)
    batch.target_mel[~MASK] = 1e6
    real = length_mask(-(-FRAMES // prosody_factor), output.pitch.shape[1])
    for values in (output.pitch, output.energy, batch.prosody.pitch, batch.prosody.energy):
        values[~real] = 1e6
    assert {name: float(loss) for name, loss in acoustic_losses(output, batch, params).items()} == {
        name: float(loss) for name, loss in first.items()}


@pytest.mark.parametrize("by", ["mean", "slice"])
def test_compared_steps_are_made_of_real_frames(by: str) -> None:
    output, batch = said_and_true("steps", by)
    params = AcousticLossParams(mel=mel_params(l1=1), duration="guided", weights=WEIGHTS)
    differences = [
        (output.mel[row, start] - (piece.mean(dim=0) if by == "mean" else piece[0])).abs().mean()
        for row, frames in enumerate(FRAMES)
        for start in range(0, int(frames), 3)
        for piece in [batch.target_mel[row, start : min(start + 3, int(frames))]]
    ]
    assert torch.allclose(acoustic_losses(output, batch, params)["postnet"], torch.stack(differences).mean())


def test_without_a_postnet_the_mel_counts_once() -> None:
    output, batch = said_and_true()
    output = replace(output, mel_before=output.mel.requires_grad_())
    output = replace(output, mel=output.mel_before)
    params = AcousticLossParams(mel=mel_params(l1=1), duration="guided", weights=WEIGHTS)
    losses = acoustic_losses(output, batch, params)
    assert float(losses["postnet"]) == float(losses["mel"].detach())
    once, = torch.autograd.grad(losses["mel"], output.mel, retain_graph=True)
    total, = torch.autograd.grad(weighted_sum(losses, WEIGHTS), output.mel)
    assert torch.equal(once, total)


@pytest.mark.parametrize("name", ["l1", "l2", "huber", "ssim"])
def test_each_distance_is_0_for_equal_mels_and_pulls_the_others_together(name: str) -> None:
    torch.manual_seed(0)
    target, mel = torch.randn(2, 12, 20), torch.randn(2, 12, 20).requires_grad_()
    params = mel_params(**{name: 1})
    assert float(mel_distance(target, target, MASK, params)) == pytest.approx(0, abs=1e-5)
    distance = mel_distance(mel, target, MASK, params)
    assert distance > 0.1
    gradient, = torch.autograd.grad(distance, mel)
    assert torch.isfinite(gradient).all() and not gradient[~MASK].any()
    assert mel_distance(mel - 0.1 * gradient / gradient.norm(), target, MASK, params) < distance


def test_distances_are_added_by_weight() -> None:
    mel, target = torch.randn(2, 2, 12, 20)
    weights = {"l1": 1.0, "l2": 2.0, "huber": 3.0, "ssim": 4.0}
    parts = [float(mel_distance(mel, target, MASK, mel_params(**{name: weight}))) for name, weight in weights.items()]
    assert float(mel_distance(mel, target, MASK, MelLossParams(**weights))) == pytest.approx(sum(parts))
    assert parts[1] == pytest.approx(2 * float(mel_distance(mel, target, MASK, mel_params(l2=1))))


def test_similarity_does_not_depend_on_padding_or_on_normalisation() -> None:
    mel, target = torch.randn(2, 1, 9, 20)
    alone = structural_similarity(mel, target, torch.ones(1, 9, dtype=torch.bool))
    padded_mel, padded_target = (torch.cat([image, torch.full((1, 5, 20), 7.0)], dim=1) for image in (mel, target))
    mask = length_mask(torch.tensor([9]), 14)
    assert torch.allclose(structural_similarity(padded_mel, padded_target, mask), alone, atol=1e-5)
    assert torch.allclose(structural_similarity(3 * padded_mel - 5, 3 * padded_target - 5, mask), alone, atol=1e-4)


def test_a_constant_target_is_similar_to_itself_and_no_division_fails() -> None:
    flat = torch.full((1, 6, 8), -2.0)
    assert float(structural_similarity(flat, flat, torch.ones(1, 6, dtype=torch.bool))) == pytest.approx(1)


@given(st.lists(st.integers(0, 6), min_size=2, max_size=8).filter(any), st.floats(0.5, 2.0))
def test_duration_losses(true: list[int], factor: float) -> None:
    """All are 0 for the true durations; `guided` adds the relative error of the whole; `log` compares log(d + 1)."""
    durations = torch.tensor([true])
    predicted, mask = durations * factor, torch.ones(1, len(true), dtype=torch.bool)
    for kind in ("plain", "guided", "log"):
        assert float(duration_loss(durations.float(), durations, mask, kind)) == 0
    plain, guided, log = (float(duration_loss(predicted, durations, mask, kind)) for kind in ("plain", "guided", "log"))
    assert guided == pytest.approx(plain + abs(factor - 1), abs=1e-5)
    assert log == pytest.approx(float((predicted.log1p() - durations.float().log1p()).square().mean()), abs=1e-5)
