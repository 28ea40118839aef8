"""The log changed what it had not yet reproduced: what is published is a preset, pinned here, and each departure a
parameter with a name.
"""

from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest

from koe.experiments.named import Difference, compose, differences, read_experiment
from koe.tasks.conversion.schema import Params, check_params

FOLDER = Path(__file__).resolve().parents[2] / "experiments"

# Hayashi et al., ICASSP 2021, as quoted by those who built it anew; sources of each value in experiments/paper.yaml.
PUBLISHED = {
    "mel.sample_rate": 24000, "mel.n_fft": 2048, "mel.hop_length": 300, "mel.win_length": 1200,
    "acoustic.encoder.layers": 4, "acoustic.decoder.layers": 4,
    "acoustic.encoder.heads": 2, "acoustic.decoder.heads": 2,
    "acoustic.encoder.attention": 384, "acoustic.decoder.attention": 384,
    "acoustic.encoder.feed_forward": 4 * 384, "acoustic.decoder.feed_forward": 4 * 384,
    "acoustic.encoder.kernel": 7, "acoustic.decoder.kernel": 7,
    "acoustic.duration.layers": 2, "acoustic.duration.kernel": 3, "acoustic.duration.filter": 256,
    "acoustic.pitch.layers": 5, "acoustic.pitch.kernel": 5, "acoustic.pitch.filter": 256,
    "acoustic.energy.layers": 2, "acoustic.energy.kernel": 3, "acoustic.energy.filter": 256,
    "acoustic.teacher_forcing.start": 1.0, "acoustic.teacher_forcing.end": 1.0, "acoustic.normalize_target": True,
}
# Where the paper is not known to say anything: ESPnet's Conformer FastSpeech 2 for the network, and the recipe of
# seq2seq-vc, by an author of the paper, for the training.
AUTHORS_CODE = {
    "mel.n_mels": 80, "mel.fmin": 80.0, "mel.fmax": 7600.0,
    **{f"acoustic.{side}.{name}": value for side in ("encoder", "decoder") for name, value in {
        "hidden": 384, "positions": "relative", "norm": "batch", "dropout": 0.2, "inner_dropout": 0.2,
        "attention_dropout": 0.2}.items()},
    "acoustic.duration.stop_gradient": False, "acoustic.pitch.stop_gradient": True,
    "acoustic.energy.stop_gradient": False,
    "acoustic.duration.dropout": 0.1, "acoustic.pitch.dropout": 0.5, "acoustic.energy.dropout": 0.5,
    "acoustic.prosody_embedding.kernel": 1,
    "acoustic.postnet.layers": 5, "acoustic.postnet.kernel": 5, "acoustic.postnet.filter": 256,
    "acoustic.postnet.norm": "batch", "acoustic.postnet.dropout": 0.5,
    "acoustic.loss.mel.l1": 1.0, "acoustic.loss.mel.l2": 0.0, "acoustic.loss.duration": "log",
    "acoustic.training.steps": 50000, "acoustic.training.batch_size": 16, "acoustic.training.gradient_clip": 1.0,
    "acoustic.training.optimizer.name": "adam", "acoustic.training.optimizer.betas": (0.9, 0.999),
    "acoustic.training.schedule.name": "noam_per_step", "acoustic.training.schedule.warmup_steps": 4000,
}
# The log's own, as its diary and its public configuration files say.
LOGGED = {
    "mel.sample_rate": 22050, "mel.n_fft": 1024, "mel.hop_length": 256, "mel.win_length": 1024, "mel.fmax": 8000.0,
    "acoustic.reduction.by": "reshape", "acoustic.reduction.factor": 3,
    **{f"acoustic.{side}.{name}": value for side in ("encoder", "decoder") for name, value in {
        "layers": 4, "heads": 2, "hidden": 256, "attention": 384, "feed_forward": 1024, "kernel": 7}.items()},
    "acoustic.pitch.layers": 5, "acoustic.pitch.kernel": 5, "acoustic.pitch.stop_gradient": True,
    "acoustic.training.batch_size": 32, "acoustic.training.optimizer.betas": (0.9, 0.98),
    "acoustic.training.optimizer.epsilon": 1e-9, "acoustic.training.schedule.warmup_steps": 4000,
    "acoustic.training.schedule.anneal_steps": [300000, 400000, 500000],
    "acoustic.training.schedule.anneal_rate": 0.3, "acoustic.training.schedule.learning_rate": 1.0,
}


def preset(name: str, values: dict[str, Any]) -> Params:
    return check_params(compose(values, read_experiment(name, FOLDER)))


@pytest.mark.parametrize("name, pinned", [("paper", PUBLISHED), ("paper", AUTHORS_CODE), ("log", LOGGED)],
                         ids=["published", "authors' code", "log"])
def test_lesson_39_presets_are_as_published(values: dict[str, Any], name: str, pinned: dict[str, Any]) -> None:
    params = preset(name, values)
    assert {parameter: attrgetter(parameter)(params) for parameter in pinned} == pinned


@pytest.mark.parametrize("name, peak", [("paper", 8e-5), ("log", 256**-0.5 * 4000**-0.5)])
def test_lesson_39_the_peak_of_the_learning_rate_is_the_published_one(
    values: dict[str, Any], name: str, peak: float
) -> None:
    acoustic = preset(name, values).acoustic
    schedule = acoustic.training.schedule
    assert schedule.learning_rate * acoustic.encoder.hidden**-0.5 * schedule.warmup_steps**-0.5 == pytest.approx(
        peak, rel=1e-3)


@pytest.mark.parametrize("name", ["paper", "log", "large"])
def test_lesson_39_every_value_of_a_preset_has_its_source_beside_it(name: str) -> None:
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").partition("parameters:\n")[2].splitlines()
    named = [line for line in lines if line.startswith("  ") and not line.startswith("   ")]
    assert len(named) == len(read_experiment(name, FOLDER).parameters)
    assert not [line for line in named if "  # " not in line]


@pytest.mark.parametrize("name", ["paper", "log"])
def test_lesson_39_presets_lean_on_no_default_of_the_acoustic_model(values: dict[str, Any], name: str) -> None:
    """A default that changes must not change what is said to be published."""
    said = read_experiment(name, FOLDER).parameters
    unused = {"acoustic.conditioning.level", "acoustic.conditioning.size", "acoustic.training.schedule.decay",
              "acoustic.training.schedule.final_learning_rate", "acoustic.training.schedule.anneal_rate",
              "acoustic.model", "acoustic.teacher_forcing.from_step", "acoustic.teacher_forcing.until_step"}
    watching = ("acoustic.init.", *(f"acoustic.training.{name}" for name in (
        "compile", "early_stopping", "gradient_limit", "keep", "validation_pairs", "pictures", "tensorboard")))
    left = [parameter for parameter in leaves(values) if parameter.startswith("acoustic.")
            and not any(f"{parameter}.".startswith(f"{name}.") for name in said)]
    assert {parameter for parameter in left if not parameter.startswith(watching)} <= unused


def leaves(value: Any, section: str = "") -> Iterator[str]:
    """Dotted names of all parameters."""
    if not isinstance(value, dict):
        yield section
        return
    for name, part in value.items():
        yield from leaves(part, f"{section}.{name}".strip("."))


def test_lesson_39_what_a_run_changed_can_be_read_off() -> None:
    before, after = ({"acoustic": {"pitch": {"layers": layers}}} for layers in (5, 8))
    assert list(differences(before, after)) == [Difference("acoustic.pitch.layers", 5, 8)]
