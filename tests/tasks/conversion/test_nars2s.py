"""The network: shapes, masks, the length regulator, and that every option trains."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from support.small_parameters import shrink_acoustic

from koe.nn.layers import MaskedBatchNorm
from koe.nn.length import regulate_length, round_durations
from koe.steps import batch_steps
from koe.tasks.conversion.data import Batch
from koe.tasks.conversion.losses import PARTS, acoustic_losses, weighted_sum
from koe.tasks.conversion.nars2s import NARS2S, Control, Prosody, Source
from koe.tasks.conversion.params import AcousticParams
from koe.tasks.conversion.reduction import frames_predicted, values_of, values_per_step
from koe.tasks.conversion.schema import check_params
from koe.tasks.conversion.speakers import EMBEDDING_SIZE

BANDS, SPEAKERS = 8, 3


def merged(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The tree with nested changes."""
    return tree | {name: merged(tree[name], change) if isinstance(change, dict) else change
                   for name, change in changes.items()}


def tiny(values: dict[str, Any], **changes: Any) -> AcousticParams:
    """The project's acoustic parameters at a size that runs in milliseconds, without dropout, with nested changes."""
    shrink_acoustic(values["acoustic"], 16, replicas=1)
    for name in ("encoder", "decoder", "duration", "pitch", "energy", "postnet"):
        values["acoustic"][name]["dropout"] = 0.0
    return check_params(merged(values, {"acoustic": changes})).acoustic


def random_voices(batch: int, by: str) -> torch.Tensor | None:
    if by == "learned":
        return torch.randint(0, SPEAKERS, (batch, 2))
    return torch.randn(batch, 2, EMBEDDING_SIZE) if by == "encoder" else None


def random_source(steps: list[int], params: AcousticParams) -> Source:
    longest, reduction = max(steps), params.reduction
    mel = torch.randn(len(steps), longest, frames_predicted(reduction) * BANDS)
    pitch, energy = torch.randn(2, len(steps), longest * values_per_step(reduction))
    return Source(mel, pitch, energy, torch.tensor(steps), random_voices(len(steps), params.conditioning.by))


def random_batch(steps: list[int], params: AcousticParams) -> Batch:
    source, factor = random_source(steps, params), params.reduction.factor
    mask = torch.arange(max(steps))[None] < torch.tensor(steps)[:, None]
    durations = torch.randint(0, 3, mask.shape) * mask
    durations[:, 0] += 1
    target_steps = durations.sum(dim=1)
    frames = target_steps * factor - (factor - 1)  # one real frame in the last step
    longest = batch_steps(int(target_steps.max()))
    prosody = Prosody(*torch.randn(2, len(steps), values_of(longest, params.reduction)))
    target_mel = torch.randn(len(steps), longest * factor, BANDS)
    return Batch(source, durations, target_mel, frames, prosody, params.reduction)


def only(source: Source, row: int) -> Source:
    """One utterance of a batch, without its padding."""
    steps, values = int(source.steps[row]), source.pitch.shape[1] // source.mel.shape[1]
    mel, pitch, energy = (tensor[row : row + 1, : steps * size] for tensor, size in (
        (source.mel, 1), (source.pitch, values), (source.energy, values)))
    return Source(mel, pitch, energy, source.steps[row : row + 1],
                  None if source.voices is None else source.voices[row : row + 1])


REDUCTIONS: list[dict[str, Any]] = [
    {}, {"factor": 1}, {"factor": 6}, {"by": "mean"}, {"by": "slice", "prosody_by": "slice"},
    {"by": "mean", "loss": "steps"}, {"by": "slice", "loss": "steps", "factor": 2}, {"prosody_factor": 1},
    {"prosody_factor": 6}, {"factor": 6, "prosody_factor": 2}, {"factor": 1, "prosody_factor": 3},
    {"by": "mean", "prosody_factor": 1},
]
OPTIONS: list[dict[str, Any]] = [
    *({"reduction": reduction} for reduction in REDUCTIONS),
    {"teacher_forcing": {"start": 0.0, "end": 0.0}}, {"normalize_target": False},
    {"pitch": {"layers": 5, "kernel": 5, "stop_gradient": False}}, {"energy": {"stop_gradient": True}},
    {"duration": {"stop_gradient": False}}, {"prosody_embedding": {"kernel": 9}},
    {"postnet": {"layers": 0}}, {"postnet": {"layers": 1}}, {"postnet": {"norm": "batch"}},
    {"reduction": {"by": "mean", "loss": "steps"}, "postnet": {"layers": 0}},
    {"encoder": {"layers": 2, "heads": 4, "feed_forward": 16, "kernel": 3}},
    {"encoder": {"positions": "relative"}, "decoder": {"positions": "absolute"}},
    {"encoder": {"norm": "batch", "attention": 24}, "decoder": {"norm": "batch", "convolution": 40}},
    {"encoder": {"hidden": 20}}, {"decoder": {"hidden": 12, "attention": 8}},
    {"conditioning": {"by": "learned", "size": 6}},
    {"conditioning": {"by": "encoder", "level": "utterance", "size": 6}},
    {"loss": {"duration": "plain", "mel": {"l1": 0.0, "huber": 1.0}}},
    {"loss": {"duration": "log", "mel": {"l2": 1.0, "ssim": 1.0}}},
]
DROPOUTS: dict[str, Any] = {
    **{half: {"dropout": 0.2, "inner_dropout": 0.2, "attention_dropout": 0.2} for half in ("encoder", "decoder")},
    **{part: {"dropout": 0.2} for part in ("duration", "pitch", "energy", "prosody_embedding", "postnet")},
}


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
def test_shapes(values: dict[str, Any], reduction: dict[str, Any]) -> None:
    params = tiny(values, reduction=reduction)
    batch = random_batch([7, 4], params)
    output = NARS2S(params, BANDS)(batch.source, batch.durations)
    target_steps = batch_steps(int(batch.durations.sum(dim=1).max()))
    assert output.mel.shape == output.mel_before.shape == (2, target_steps * params.reduction.factor, BANDS)
    assert output.pitch.shape == output.energy.shape == (2, values_of(target_steps, params.reduction))
    assert output.durations.shape == (2, 7)


@pytest.mark.parametrize("forced", [True, False])
@pytest.mark.parametrize("changes", OPTIONS, ids=str)
def test_lesson_31_padding_does_not_change_an_utterance(
    values: dict[str, Any], changes: dict[str, Any], forced: bool
) -> None:
    torch.manual_seed(0)
    params = tiny(values, **changes)
    network = NARS2S(params, BANDS, SPEAKERS).eval()
    for module in network.modules():
        if isinstance(module, MaskedBatchNorm):
            module.running_mean.normal_()
    batch = random_batch([19, 5], params)
    both = network(batch.source, batch.durations, batch.prosody if forced else None)
    steps = int(batch.durations[1].sum())
    count = values_of(steps, params.reduction)
    padded = values_of(batch_steps(steps), params.reduction)
    prosody = Prosody(*(value[1:, :padded] for value in (batch.prosody.pitch, batch.prosody.energy)))
    alone = network(only(batch.source, 1), batch.durations[1:, :5], prosody if forced else None)
    frames = steps * params.reduction.factor
    assert torch.allclose(both.mel[1, :frames], alone.mel[0, :frames], atol=1e-5)
    assert torch.allclose(both.pitch[1, :count], alone.pitch[0, :count], atol=1e-5)
    assert torch.allclose(both.durations[1, :5], alone.durations[0], atol=1e-5)


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


@pytest.mark.parametrize("changes", [*OPTIONS, DROPOUTS], ids=str)
def test_every_option_trains(values: dict[str, Any], changes: dict[str, Any]) -> None:
    """Gradients reach every parameter: none is left out of the computation, and none would stay as it was drawn."""
    torch.manual_seed(0)
    params = tiny(values, **changes)
    network = NARS2S(params, BANDS, SPEAKERS)
    batch = random_batch([16, 9, 1], params)
    prosody = batch.prosody if params.teacher_forcing.start else None
    losses = acoustic_losses(network(batch.source, batch.durations, prosody), batch, params.loss)
    weighted_sum(losses, params.loss.weights).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and bool(parameter.grad.abs().sum() > 0), name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize("changes", OPTIONS, ids=str)
def test_every_option_computes_in_bfloat16(values: dict[str, Any], changes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    params = tiny(values, **changes)
    network = NARS2S(params, BANDS, SPEAKERS)
    batch = random_batch([16, 9, 1], params)
    exact = network(batch.source, batch.durations, batch.prosody)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = network(batch.source, batch.durations, batch.prosody)
    weighted_sum(acoustic_losses(rounded, batch, params.loss), params.loss.weights).backward()
    for part in ("mel", "durations", "pitch", "energy"):
        assert getattr(rounded, part).dtype == torch.float32, part
        assert torch.allclose(getattr(rounded, part), getattr(exact, part), atol=0.2), part


@pytest.mark.parametrize("predictor", ["duration", "pitch", "energy"])
@pytest.mark.parametrize("stopped", [True, False])
def test_lesson_02_stop_gradient_is_a_parameter_of_each_predictor(
    values: dict[str, Any], predictor: str, stopped: bool
) -> None:
    params = tiny(values, **{predictor: {"stop_gradient": stopped}})
    network = NARS2S(params, BANDS)
    batch = random_batch([6, 3], params)
    losses = acoustic_losses(network(batch.source, batch.durations, batch.prosody), batch, params.loss)
    losses[predictor].backward()
    reached = network.reduce.weight.grad is not None and bool(network.reduce.weight.grad.abs().sum() > 0)
    assert reached is not stopped


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
def test_lesson_29_prosody_is_forced_on_the_utterances_that_are_named(
    values: dict[str, Any], reduction: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    params = tiny(values, reduction=reduction)
    network = NARS2S(params, BANDS).eval()
    batch = random_batch([6, 6], params)
    free = network(batch.source, batch.durations)
    forced = network(batch.source, batch.durations, batch.prosody)
    mixed = network(batch.source, batch.durations, batch.prosody, forced=torch.tensor([True, False]))
    assert torch.allclose(mixed.mel[0], forced.mel[0], atol=1e-6)
    assert torch.allclose(mixed.mel[1], free.mel[1], atol=1e-6)
    assert not torch.allclose(free.mel, forced.mel, atol=1e-3)
    assert torch.equal(forced.pitch, free.pitch)  # what is predicted is said either way


def test_lesson_29_the_mels_loss_reaches_the_predictors_where_prosody_is_not_forced(values: dict[str, Any]) -> None:
    params = tiny(values)
    network = NARS2S(params, BANDS)
    batch = random_batch([6, 3], params)
    for forced, reached in ((True, False), (False, True)):
        network.zero_grad()
        output = network(batch.source, batch.durations, batch.prosody, forced=torch.tensor([forced, forced]))
        acoustic_losses(output, batch, params.loss)["mel"].backward()
        gradient = network.pitch_predictor.out.weight.grad
        assert bool(gradient is not None and gradient.abs().sum() > 0) is reached


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
def test_control_is_added_to_what_the_decoder_gets(values: dict[str, Any], reduction: dict[str, Any]) -> None:
    torch.manual_seed(0)
    params = tiny(values, reduction=reduction)
    network = NARS2S(params, BANDS).eval()
    batch = random_batch([6, 4], params)
    pitch, energy = torch.tensor([1.0, 0.0]), torch.tensor([0.0, -2.0])
    controlled = network(batch.source, batch.durations, control=Control(pitch, energy, torch.ones(2)))
    free = network(batch.source, batch.durations)
    shifted = Prosody(free.pitch + pitch[:, None], free.energy + energy[:, None])
    assert torch.allclose(controlled.mel, network(batch.source, batch.durations, shifted).mel, atol=1e-6)
    assert torch.equal(controlled.pitch, free.pitch)


@pytest.mark.parametrize("duration", ["guided", "log"])
def test_speed_divides_durations_before_rounding(values: dict[str, Any], duration: str) -> None:
    torch.manual_seed(0)
    network = NARS2S(tiny(values, loss={"duration": duration}), BANDS).eval()
    torch.nn.init.constant_(network.duration_predictor.out.bias, 2.0)
    source = random_source([40, 40], tiny(values))
    output = network(source, control=Control(torch.zeros(2), torch.zeros(2), torch.tensor([1.0, 2.0])))
    expected = (output.durations.sum(dim=1) / torch.tensor([1.0, 2.0])).round().long()
    assert torch.equal(output.steps, expected)
    assert torch.equal(output.durations, network(source).durations)


def test_the_log_loss_trains_a_network_that_says_logarithms(values: dict[str, Any]) -> None:
    """The conversion gets exp(x) - 1 of what the predictor says."""
    network = NARS2S(tiny(values, loss={"duration": "log"}), BANDS).eval()
    torch.nn.init.zeros_(network.duration_predictor.out.weight)
    torch.nn.init.constant_(network.duration_predictor.out.bias, float(torch.log(torch.tensor(4.0))))
    output = network(random_source([5], tiny(values)))
    assert torch.allclose(output.durations, torch.full((1, 5), 3.0))
    assert output.whole_durations.tolist() == [[3] * 5]


@pytest.mark.parametrize("by", ["learned", "encoder"])
@pytest.mark.parametrize("side", [0, 1])
def test_lesson_22_both_speakers_are_heard(values: dict[str, Any], by: str, side: int) -> None:
    """Another source or target speaker changes the mel, the durations and the prosody."""
    torch.manual_seed(0)
    params = tiny(values, conditioning={"by": by, "level": "speaker", "size": 6})
    network = NARS2S(params, BANDS, SPEAKERS).eval()
    source = random_source([9, 5], params)
    other = source.voices.clone()
    other[:, side] = (other[:, side] + 1) % SPEAKERS if by == "learned" else -other[:, side]
    durations = torch.ones(2, 9, dtype=torch.long)
    one, two = (network(replace(source, voices=voices), durations) for voices in (source.voices, other))
    for part in ("mel", "durations", "pitch", "energy"):
        assert not torch.allclose(getattr(one, part), getattr(two, part), atol=1e-6), part


@pytest.mark.parametrize("reduction", REDUCTIONS, ids=str)
def test_masked_frames_do_not_count(values: dict[str, Any], reduction: dict[str, Any]) -> None:
    params = tiny(values, reduction=reduction)
    network = NARS2S(params, BANDS).eval()
    batch = random_batch([6, 3], params)
    with torch.no_grad():
        output = network(batch.source, batch.durations)
    first = acoustic_losses(output, batch, params.loss)
    batch.target_mel[1, int(batch.target_frames[1]) :] = 1e6
    second = acoustic_losses(output, batch, params.loss)
    assert {part: float(first[part]) for part in PARTS} == {part: float(second[part]) for part in PARTS}
