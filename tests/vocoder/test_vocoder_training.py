from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from koe.errors import ContractError, KoeError
from koe.params import Params, VocoderParams
from koe.training.session import Session
from koe.vocoder.data import MelAudio
from koe.vocoder.model_file import VocoderModel, save_vocoder
from koe.vocoder.training import VocoderTrainer, initial_models, scratch_warning


def trainer_of(corpus: Any, params: VocoderParams, seed: int = 3) -> VocoderTrainer:
    dataset, pairs, generated = corpus
    generator, discriminators = initial_models(params, dataset.mel_params, seed)
    return VocoderTrainer(
        generator, discriminators, params, MelAudio(dataset, pairs[:3], generated),
        MelAudio(dataset, pairs[3:4], generated), seed, torch.device("cpu"),
    )


OPTIONS: dict[str, dict[str, Any]] = {
    "as small as tests like it": {},
    "single convolutions": {"generator__resblock": "2"},
    "several residual blocks": {
        "generator__resblock_kernels": [3, 7, 11], "generator__resblock_dilations": [[1, 3, 5], [1], [2, 4]],
    },
    "other rates": {"generator__upsample_rates": [4, 4, 4, 4], "generator__upsample_kernels": [4, 6, 8, 10]},
    "other periods": {"discriminators__periods": [2, 7, 11, 13]},
    "one scale": {"discriminators__scales": 1},
    "three scales": {"discriminators__scales": 3, "discriminators__scale_channels": 5},
    "clipped": {"training__gradient_clip": 1.0},
    "longer than the utterances": {"training__segment_size": 80 * 256},
}


@pytest.mark.parametrize("mel_only", [False, True])
@pytest.mark.parametrize("changes", OPTIONS.values(), ids=OPTIONS.keys())
def test_is_it_trainable(
    corpus: Any, with_params: Callable[..., Params], small_changes: dict[str, Any], changes: dict[str, Any],
    mel_only: bool,
) -> None:
    changes = {f"vocoder__{name}": value for name, value in changes.items()}
    changes["vocoder__training__mel_only_steps"] = 1 if mel_only else 0
    trainer = trainer_of(corpus, with_params(**{**small_changes, **changes}).vocoder)
    losses = trainer.step(1, trainer.sampler.batch_at(0))
    expected = {"mel"} if mel_only else {"mel", "discriminator", "feature_matching", "adversarial"}
    assert losses.keys() == expected
    assert all(0 < value < 1e3 for value in losses.values())
    for name, parameter in trainer.generator.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name
    for name, parameter in trainer.discriminators.named_parameters():
        assert parameter.requires_grad
        if mel_only:
            assert parameter.grad is None, name
        else:
            assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name


def test_the_mel_loss_falls(corpus: Any, small: VocoderParams) -> None:
    training = small.training.model_copy(update={"mel_only_steps": 30, "learning_rate": 3e-3})
    trainer = trainer_of(corpus, small.model_copy(update={"training": training}))
    before = trainer.validate()["validation/mel"]
    for step in range(1, 31):
        trainer.step(step, trainer.sampler.batch_at(step - 1))
    assert trainer.validate()["validation/mel"] < 0.8 * before


def test_lesson_16_the_learning_rate_decays_per_epoch_as_published(
    corpus: Any, with_params: Callable[..., Params], small_changes: dict[str, Any]
) -> None:
    params = with_params(**small_changes, vocoder__training__learning_rate=2e-4,
                         vocoder__training__learning_rate_decay_per_epoch=0.999).vocoder
    trainer = trainer_of(corpus, params)
    assert trainer.sampler.batching.batches_per_epoch == 2  # three pairs, batches of two
    for step in (0, 1, 2, 3, 20, 2001, 400_000):
        assert trainer.rate(step) == pytest.approx(2e-4 * 0.999 ** (step // 2), rel=1e-12)
    assert trainer.rate(1) == trainer.rate(0) > trainer.rate(2)
    trainer.step(3, trainer.sampler.batch_at(2))
    for optimizer in (trainer.generator_optimizer, trainer.discriminator_optimizer):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(2e-4 * 0.999)


def test_a_killed_run_ends_as_one_that_was_not(corpus: Any, small: VocoderParams, tmp_path: Path) -> None:
    def session(name: str, trainer: VocoderTrainer) -> Session:
        return Session("vocoder", {}, tmp_path / name / "curves", trainer.objects, root=tmp_path / name)

    whole = trainer_of(corpus, small)
    expected = whole.run(session("whole", whole))

    killed = trainer_of(corpus, small)
    original = killed.step

    def step_until_killed(step: int, batch: Any) -> dict[str, float]:
        if step == 5:
            raise KeyboardInterrupt
        return original(step, batch)

    killed.step = step_until_killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        killed.run(session("killed", killed))
    continued = trainer_of(corpus, small)
    torch.manual_seed(99)
    assert continued.run(session("killed", continued)) == expected
    for name, tensor in whole.generator.state_dict().items():
        assert torch.equal(tensor, continued.generator.state_dict()[name]), name
    for name, tensor in whole.discriminators.state_dict().items():
        assert torch.equal(tensor, continued.discriminators.state_dict()[name]), name


def test_divergence_names_the_step_and_what_to_lower(corpus: Any, small: VocoderParams) -> None:
    trainer = trainer_of(corpus, small)
    with torch.no_grad():
        trainer.generator.conv_post.bias.fill_(float("nan"))
    with pytest.raises(KoeError, match=r"step 1.*toy/.*vocoder\.training\.learning_rate"):
        trainer.step(1, trainer.sampler.batch_at(0))


def test_lesson_11_from_scratch_warns_with_the_amount_of_data(corpus: Any, small: VocoderParams) -> None:
    dataset, pairs, _ = corpus
    train = MelAudio(dataset, [*pairs, ("again", *pairs[0][1:])], None)
    seconds = sum((70, 64, 40, 90, 33)) * 256 / 22050  # a target in two pairs is counted once
    assert train.hours == pytest.approx(seconds / 3600)
    warning = scratch_warning(train, small)
    assert warning is not None and "WARNING" in warning and "0.00 hours" in warning and "vocoder.init" in warning
    assert scratch_warning(train, small.model_copy(update={"init": "models/other"})) is None


@pytest.fixture()
def trained(corpus: Any, small: VocoderParams, tmp_path: Path) -> Path:
    mel = corpus[0].mel_params
    save_vocoder(tmp_path / "start", VocoderModel(*initial_models(small, mel, 5), small, mel, steps=1))
    return tmp_path / "start"


def test_fine_tuning_starts_from_the_weights_given(corpus: Any, small: VocoderParams, trained: Path) -> None:
    mel = corpus[0].mel_params
    expected = initial_models(small, mel, 5)
    given = initial_models(small.model_copy(update={"init": str(trained)}), mel, 6)
    for ours, theirs in zip(given, expected, strict=True):
        assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


def test_fine_tuning_a_generator_alone_says_so(
    corpus: Any, small: VocoderParams, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (trained / "discriminators.safetensors").unlink()
    initial_models(small.model_copy(update={"init": str(trained)}), corpus[0].mel_params, 6)
    assert "start at random" in capsys.readouterr().out


def test_lesson_13_fine_tuning_under_other_mel_settings_is_refused(
    corpus: Any, small: VocoderParams, trained: Path
) -> None:
    other = corpus[0].mel_params.model_copy(update={"fmax": 11025.0})
    with pytest.raises(ContractError, match=r"fmax: 8000\.0 in vocoder\.init.*11025\.0 in params\.yaml"):
        initial_models(small.model_copy(update={"init": str(trained)}), other, 6)


def test_lesson_19_fine_tuning_at_another_size_is_refused(corpus: Any, small: VocoderParams, trained: Path) -> None:
    generator = small.generator.model_copy(update={"upsample_channels": 32})
    changed = small.model_copy(update={"init": str(trained), "generator": generator})
    with pytest.raises(KoeError, match=r"vocoder\.init.*generator.*differ in"):
        initial_models(changed, corpus[0].mel_params, 6)
