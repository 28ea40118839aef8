"""Both generators train, with every option; a run that was killed ends as one that never was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.small_vocoder import Corpus, make_session, make_trainer
from torch import Tensor, nn

from koe.errors import KoeError
from koe.tasks.conversion.schema import Params
from koe.vocoder.training import VocoderTrainer

WithParams = Callable[..., Params]
HARMONIC = {"vocoder.model": "harmonic_noise"}
JUDGED = {"mel", "stft", "feature_matching", "adversarial", "gradient_norm", "discriminator",
          "discriminator_gradient_norm"}
SPECTRAL = {"mel", "stft", "gradient_norm"}
OPTIONS: dict[str, dict[str, Any]] = {
    "as small as tests like it": {},
    "harmonic and noise": HARMONIC,
    "single convolutions": {"hifigan.resblock": "2"},
    "several residual blocks": {
        "hifigan.resblock_kernels": [3, 7, 11], "hifigan.resblock_dilations": [[1, 3, 5], [1], [2, 4]],
    },
    "other rates": {"hifigan.upsample_rates": [4, 4, 4, 4], "hifigan.upsample_kernels": [4, 6, 8, 10]},
    "other periods": {"discriminators.periods": [2, 7, 11, 13]},
    "waveforms alone are judged": {"discriminators.spectra": []},
    "spectra alone are judged": {"discriminators.periods": [], "discriminators.scales": 0},
    "one scale": {"discriminators.scales": 1},
    "not clipped": {"training.gradient_clip": None},
    "longer than the utterances": {"training.segment_size": 80 * 256},
    "bfloat16": {"training.precision": "bfloat16"},
    "radam": {"training.optimizer": {"name": "radam", "betas": [0.8, 0.99], "epsilon": 1e-8, "weight_decay": 0.01}},
    "muon": {"vocoder.model": "harmonic_noise",
             "training.optimizer": {"name": "muon", "betas": [0.8, 0.99], "epsilon": 1e-8, "weight_decay": 0.01}},
}


def named(changes: dict[str, Any]) -> dict[str, Any]:
    return {name if name.startswith("vocoder.") else f"vocoder.{name}": value for name, value in changes.items()}


def steps(trainer: VocoderTrainer, count: int) -> list[dict[str, float]]:
    return [trainer.step(step, trainer.sampler.batch_at(step - 1)) for step in range(1, count + 1)]


def weights(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(value, right[name]) for name, value in left.items())


@pytest.mark.parametrize("spectral_steps", [0, 1])
@pytest.mark.parametrize("changes", OPTIONS.values(), ids=OPTIONS.keys())
def test_is_it_trainable(
    corpus: Corpus, with_params: WithParams, changes: dict[str, Any], spectral_steps: int
) -> None:
    trainer = make_trainer(corpus, with_params(named({**changes, "training.spectral_steps": spectral_steps})))
    before = weights(trainer.discriminators)
    values = trainer.step(1, trainer.sampler.batch_at(0))
    assert values.keys() == (SPECTRAL if spectral_steps else JUDGED)
    assert all(0 < value < 1e6 for value in values.values()), values
    for name, parameter in trainer.generator.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name
    assert same(weights(trainer.discriminators), before) == bool(spectral_steps)
    for name, parameter in trainer.discriminators.named_parameters():
        assert parameter.requires_grad
        assert (parameter.grad is None) == bool(spectral_steps), name


@pytest.mark.slow
@pytest.mark.parametrize("model", ["hifigan", "harmonic_noise"])
def test_the_losses_fall(corpus: Corpus, with_params: WithParams, model: str) -> None:
    params = with_params({"vocoder.model": model, "vocoder.training.spectral_steps": 20,
                          "vocoder.training.schedule.learning_rate": 3e-3, "vocoder.training.steps": 40})
    values = steps(make_trainer(corpus, params), 40)
    for part in ("mel", "stft"):
        first, last = (np.mean([each[part] for each in some]) for some in (values[:4], values[-4:]))
        assert last < 0.85 * first, part


@pytest.mark.parametrize("changes", [
    {}, {"discriminators.periods": [], "discriminators.scales": 0, "discriminators.spectra": []},
], ids=["no weight", "no discriminators"])
def test_discriminators_that_count_for_nothing_are_not_run(
    corpus: Corpus, with_params: WithParams, changes: dict[str, Any], tmp_path: Path
) -> None:
    spectral = {"loss.weights": {"mel": 1.0, "stft": 1.0, "feature_matching": 0.0, "adversarial": 0.0}}
    trainer = make_trainer(corpus, with_params(named({**changes, **spectral, "training.spectral_steps": 0})))
    before = weights(trainer.discriminators)
    trainer.run(make_session(tmp_path, trainer))
    assert trainer.step(1, trainer.sampler.batch_at(0)).keys() == SPECTRAL
    assert same(weights(trainer.discriminators), before)


def test_the_mel_is_weighed_as_the_parameters_say(corpus: Corpus, with_params: WithParams) -> None:
    only = {"mel": 1.0, "stft": 0.0, "feature_matching": 0.0, "adversarial": 0.0}
    norms = [steps(make_trainer(corpus, with_params(named({"loss.weights": {**only, "mel": weight}}))), 1)[0]
             for weight in (1.0, 45.0)]
    assert norms[1]["gradient_norm"] == pytest.approx(45 * norms[0]["gradient_norm"], rel=1e-3)
    assert norms[0].keys() == {"mel", "gradient_norm"}


def test_lesson_16_the_learning_rate_decays_per_epoch_as_published(corpus: Corpus, with_params: WithParams) -> None:
    trainer = make_trainer(corpus, with_params(named({
        "training.schedule.name": "exponential_per_epoch", "training.schedule.learning_rate": 2e-4,
        "training.schedule.decay": 0.999})))
    assert trainer.sampler.batching.batches_per_epoch == 2  # three recordings, batches of two
    for step in (0, 1, 2, 3, 20, 2001, 400_000):
        assert trainer.rate(step) == pytest.approx(2e-4 * 0.999 ** (step // 2), rel=1e-12)
    assert trainer.rate(1) == trainer.rate(0) > trainer.rate(2)
    trainer.step(3, trainer.sampler.batch_at(2))
    for optimizer in (trainer.generator_optimizer, trainer.discriminator_optimizer):
        assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([2e-4 * 0.999] * 2)


def test_r1_acts_every_so_many_steps_of_the_discriminators(corpus: Corpus, with_params: WithParams) -> None:
    found = {}
    for weight in (0.0, 1e-3):
        settings = {"training.r1": {"weight": weight, "every": 3}, "training.spectral_steps": 2}
        trainer = make_trainer(corpus, with_params(named(settings)))
        values = steps(trainer, 6)
        found[weight] = weights(trainer.discriminators)
        assert [step for step, each in enumerate(values, 1) if "r1" in each] == ([3, 6] if weight else [])
    assert not same(found[0.0], found[1e-3])


def test_the_moving_average_is_the_model(corpus: Corpus, with_params: WithParams) -> None:
    trainer = make_trainer(corpus, with_params(named({"training.ema": 0.9, "training.spectral_steps": 0})))
    averaged = weights(trainer.generator)
    for step in range(1, 4):
        trainer.step(step, trainer.sampler.batch_at(step - 1))
        decay = min(0.9, step / (9 + step))
        averaged = {name: decay * averaged[name] + (1 - decay) * tensor
                    for name, tensor in trainer.generator.state_dict().items()}
    for name, tensor in trainer.model.state_dict().items():
        assert torch.allclose(tensor, averaged[name], atol=1e-6), name
    assert not same(weights(trainer.model), weights(trainer.generator))


STATEFUL: dict[str, Any] = {
    "training.ema": 0.9, "training.r1": {"weight": 1e-4, "every": 2}, "training.true_mels": 0.5,
    "training.keep_every": 3, "training.keep_best": True,
}


@pytest.mark.parametrize("model", ["hifigan", "harmonic_noise"])
def test_lesson_34_a_killed_run_ends_as_one_that_was_not(
    corpus: Corpus, with_params: WithParams, tmp_path: Path, model: str
) -> None:
    params = with_params(named({**STATEFUL, "model": model}))
    whole = make_trainer(corpus, params)
    expected = whole.run(make_session(tmp_path / "whole", whole))

    killed = make_trainer(corpus, params)
    original = killed.step

    def step_until_killed(step: int, batch: Any) -> dict[str, float]:
        if step == 5:
            raise KeyboardInterrupt
        return original(step, batch)

    killed.step = step_until_killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        killed.run(make_session(tmp_path / "killed", killed))
    continued = make_trainer(corpus, params)
    torch.manual_seed(99)
    assert continued.run(make_session(tmp_path / "killed", continued)) == expected
    for name in ("generator", "discriminators", "model"):
        assert same(weights(getattr(whole, name)), weights(getattr(continued, name))), name
    for file in (tmp_path / "whole" / "curves").rglob("*"):
        other = tmp_path / "killed" / file.relative_to(tmp_path / "whole")
        assert file.is_dir() or file.read_bytes() == other.read_bytes(), file.name


def test_what_is_validated_can_be_heard_and_the_best_is_kept(
    corpus: Corpus, with_params: WithParams, tmp_path: Path
) -> None:
    trainer = make_trainer(corpus, with_params(named({"training.keep_every": 3, "training.keep_best": True})))
    session = make_session(tmp_path, trainer)
    values = trainer.run(session)
    assert {"validation/mel", "validation/stft"} <= values.keys()
    assert session.series("validation/mel")[-1] == values["validation/mel"]
    players = tmp_path / "curves/players/toy_003_source-target"
    assert [path.name for path in sorted(players.iterdir())] == ["00000004.flac", "00000006.flac"]
    kept = sorted(path.stem for path in (session.folder / "kept").iterdir())
    assert kept == ["00000003", "00000006", "best"]
    assert 0 < trainer.seconds["data"] < trainer.seconds["step"]


def test_divergence_names_the_step_the_items_and_what_to_lower(corpus: Corpus, with_params: WithParams) -> None:
    trainer = make_trainer(corpus, with_params())
    with torch.no_grad():
        next(trainer.generator.parameters()).fill_(float("nan"))
    with pytest.raises(KoeError, match=r"step 1, batch of .*toy/.*vocoder\.training\.schedule\.learning_rate"):
        trainer.step(1, trainer.sampler.batch_at(0))


def test_too_little_memory_names_the_batch(
    corpus: Corpus, with_params: WithParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(corpus, with_params())

    def full(*_: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    monkeypatch.setattr(trainer.generator, "forward", full)
    with pytest.raises(KoeError, match=r"step 1, batch of .*toy/.*vocoder\.training\.batch_size \(2\).*segment_size"):
        trainer.step(1, trainer.sampler.batch_at(0))
