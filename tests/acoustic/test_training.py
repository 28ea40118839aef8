"""Training on a small dataset: it learns, resumes exactly, validates as conversion does, and starts from a model."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_parameters import shrink_acoustic

from koe.acoustic.data import PairReader
from koe.acoustic.generation import generate_mels
from koe.acoustic.model_file import AcousticModel, Preparation, load_acoustic, save_acoustic
from koe.acoustic.reduction import steps_of
from koe.acoustic.speakers import Speakers
from koe.acoustic.training import AcousticTrainer, initial_network
from koe.corpus.dataset import Dataset
from koe.corpus.statistics import Normalization, measure
from koe.errors import ContractError, KoeError, StoreError
from koe.params import Params, check_params
from koe.store import ShardReader, ShardWriter
from koe.training.session import Session

EMBEDDINGS = {f"toy/{name}": np.eye(2, 256, dtype=np.float32)[index] for index, name in enumerate("xy")}
FRAMES = {"a": (31, 40), "b": (25, 22), "c": (37, 37), "d": (16, 20), "e": (44, 41)}


@pytest.fixture()
def tiny(values: dict[str, Any]) -> Params:
    shrink_acoustic(values["acoustic"], 16, steps=8, warmup_steps=2, batch_size=2, log_every=2, validate_every=4,
                    checkpoint_every=3, precision="float32")
    return check_params(values)


def make_trainer(root: Path, params: Params) -> AcousticTrainer:
    """A trainer over made-up features written to `root`."""
    generator = np.random.default_rng(0)
    folder = root / "features" / "toy"
    if not folder.exists():
        with ShardWriter(folder, {"mel": params.mel.contract()}) as writer:
            for sentence, lengths in FRAMES.items():
                for speaker, frames in zip(("x", "y"), lengths, strict=True):
                    f0 = np.where(generator.random(frames) < 0.8, generator.uniform(80, 200, frames), 0)
                    writer.add(
                        f"toy/{speaker}/{sentence}",
                        mel=generator.normal(-5, 2, (frames, 80)).astype(np.float32),
                        f0=f0.astype(np.float32),
                        energy=generator.normal(0, 1, frames).astype(np.float32),
                    )
    dataset = Dataset(["toy"], params.mel, root)
    pairs = [(f"toy/{name}/x-y", f"toy/x/{name}", f"toy/y/{name}") for name in FRAMES]
    factor = params.acoustic.reduction_factor
    durations = {pair: spread(*(steps_of(dataset.frames(name), factor) for name in sides)) for pair, *sides in pairs}
    sides = {"source": [source for _, source, _ in pairs], "target": [target for _, _, target in pairs]}
    found = measure(dataset, {**sides, "overall": sides["source"] + sides["target"]}, params.stats.outliers)
    normalization = Normalization(params.stats, **found, speakers={"toy/x": found["source"], "toy/y": found["target"]})
    own = Speakers(params.acoustic.conditioning, (("toy/x", "toy/y"),), normalization,
                   params.acoustic.normalize_target, EMBEDDINGS)
    network, speakers = initial_network(params.acoustic, params.mel, own, params.seed)
    reader = PairReader(dataset, durations, speakers, factor)
    return AcousticTrainer(network, params.acoustic, reader, pairs[:4], pairs[4:], params.seed, torch.device("cpu"))


def spread(source_steps: int, target_steps: int) -> np.ndarray:
    """Durations along the straight line."""
    ends = np.round(np.arange(1, source_steps + 1) * target_steps / source_steps).astype(np.int32)
    return np.diff(ends, prepend=0).astype(np.int32)


def make_session(root: Path, trainer: AcousticTrainer) -> Session:
    return Session("acoustic", {"run": 1}, root / "curves", trainer.objects, root / "work")


def weights(trainer: AcousticTrainer) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.network.state_dict().items()}


class Killed(Exception):
    pass


def test_lesson_34_a_killed_run_ends_as_if_it_had_not_been(tmp_path: Path, tiny: Params) -> None:
    whole = make_trainer(tmp_path, tiny)
    values = whole.run(make_session(tmp_path / "whole", whole))

    killed = make_trainer(tmp_path, tiny)
    step = killed._step

    def dies_at_5(number: int, batch: Any) -> Any:
        if number == 5:
            raise Killed
        return step(number, batch)

    killed._step = dies_at_5  # type: ignore[method-assign]
    with pytest.raises(Killed):
        killed.run(make_session(tmp_path / "killed", killed))

    resumed = make_trainer(tmp_path, tiny)
    resumed_values = resumed.run(make_session(tmp_path / "killed", resumed))
    for name, tensor in weights(whole).items():
        assert torch.equal(tensor, weights(resumed)[name]), name
    assert values == resumed_values


def test_the_same_seed_gives_the_same_weights_and_another_others(tmp_path: Path, tiny: Params) -> None:
    first, second = (make_trainer(tmp_path, tiny) for _ in range(2))
    other = make_trainer(tmp_path, tiny.model_copy(update={"seed": 7}))
    for index, trainer in enumerate((first, second, other)):
        trainer.run(make_session(tmp_path / str(index), trainer))
    assert torch.equal(first.network.expand.weight, second.network.expand.weight)
    assert not torch.equal(first.network.expand.weight, other.network.expand.weight)


def test_lesson_02_every_part_is_logged_for_both_sets(tmp_path: Path, tiny: Params) -> None:
    trainer = make_trainer(tmp_path, tiny)
    trainer.run(make_session(tmp_path, trainer))
    for part in ("mel", "postnet", "duration", "pitch", "energy"):
        for group in ("train", "validation"):
            assert (tmp_path / f"curves/plots/metrics/{group}/{part}.tsv").exists()
    rates = (tmp_path / "curves/plots/metrics/learning_rate.tsv").read_text().splitlines()
    assert len(rates) == 1 + 4  # the learning rate's trajectory, at each logged step (lesson 16)


def test_lesson_28_validation_is_told_nothing_of_the_targets_prosody(tmp_path: Path, tiny: Params) -> None:
    trainer = make_trainer(tmp_path, tiny)
    before = trainer.validate()
    batch = trainer.reader.batch

    def with_other_prosody(pairs: Any) -> Any:
        made = batch(pairs)
        made.prosody.pitch.mul_(5)
        made.prosody.energy.mul_(5)
        return made

    trainer.reader.batch = with_other_prosody  # type: ignore[method-assign]
    after = trainer.validate()
    assert after["validation/postnet"] == before["validation/postnet"]
    assert after["validation/postnet_teacher_forced"] != before["validation/postnet_teacher_forced"]
    assert after["validation/mcd_db"] == before["validation/mcd_db"]


@pytest.mark.parametrize("forced", [True, False])
def test_lesson_29_teacher_forcing_is_a_parameter(tmp_path: Path, values: dict[str, Any], tiny: Params,
                                                  forced: bool) -> None:
    acoustic = tiny.acoustic.model_copy(update={"teacher_forcing": forced})
    params = tiny.model_copy(update={"acoustic": acoustic})
    losses = []
    for scale in (1, 3):
        trainer = make_trainer(tmp_path, params)
        batch = trainer.reader.batch(trainer.train[:2])
        batch.prosody.pitch.mul_(scale)
        torch.manual_seed(0)
        losses.append(trainer._step(1, batch)[0]["mel"])
    assert (losses[0] != losses[1]) is forced


def test_divergence_names_step_batch_and_parameter(tmp_path: Path, tiny: Params) -> None:
    trainer = make_trainer(tmp_path, tiny)
    batch = trainer.reader.batch(trainer.train[:2])
    batch.target_mel.fill_(float("inf"))
    with pytest.raises(KoeError, match=r"step 3.*acoustic\.training\.learning_rate"):
        trainer._step(3, batch)


def _saved(tmp_path: Path, params: Params) -> tuple[Path, AcousticTrainer]:
    trainer = make_trainer(tmp_path, params)
    preparation = Preparation(params.mel, params.resample, params.trim, params.speaker_pitch)
    model = AcousticModel(trainer.network, params.acoustic, trainer.reader.speakers, preparation, {"revision": "test"})
    save_acoustic(tmp_path / "model", model)
    return tmp_path / "model", trainer


def test_a_model_folder_says_all_there_is_to_know(tmp_path: Path, tiny: Params) -> None:
    folder, trainer = _saved(tmp_path, tiny)
    loaded = load_acoustic(folder)
    assert loaded.params == tiny.acoustic
    assert loaded.preparation.mel == tiny.mel
    assert loaded.provenance == {"revision": "test"}
    speakers = trainer.reader.speakers
    assert loaded.speakers.to_json() == speakers.to_json()
    assert all(np.array_equal(loaded.speakers.embeddings[name], vector) for name, vector in EMBEDDINGS.items())
    assert all(torch.equal(tensor, weights(trainer)[name]) for name, tensor in loaded.network.state_dict().items())
    assert {path.suffix for path in folder.iterdir()} == {".json", ".safetensors"}


def test_lesson_19_statistics_come_with_the_model_to_start_from(tmp_path: Path, tiny: Params) -> None:
    folder, trainer = _saved(tmp_path, tiny)
    params = tiny.acoustic.model_copy(update={"init": str(folder)})
    own = trainer.reader.speakers
    swapped = Normalization(own.normalization.levels, own.normalization.target, own.normalization.source,
                            own.normalization.overall)
    network, speakers = initial_network(params, tiny.mel, replace(own, normalization=swapped), seed=99)
    assert speakers.normalization.to_json() == own.normalization.to_json()
    assert torch.equal(network.reduce.weight, trainer.network.reduce.weight)


def test_lesson_19_speakers_the_model_never_met_bring_their_own(tmp_path: Path, values: dict[str, Any]) -> None:
    values["acoustic"]["conditioning"] |= {"by": "encoder", "size": 4}
    values["stats"]["pitch"] = "speaker"
    shrink_acoustic(values["acoustic"], 16)
    params = check_params(values)
    folder, trainer = _saved(tmp_path, params)
    own = trainer.reader.speakers
    new = replace(own.normalization, speakers={"my/z": own.normalization.target, "toy/x": own.normalization.target})
    started = params.acoustic.model_copy(update={"init": str(folder)})
    _, speakers = initial_network(started, params.mel, replace(own, normalization=new), 1)
    assert speakers.of_target("my/z").log_f0 is own.normalization.target.log_f0
    found = speakers.normalization.speakers["toy/x"].to_json()
    assert found == own.normalization.speakers["toy/x"].to_json() != own.normalization.target.to_json()


def test_lesson_19_shapes_are_checked_before_training(tmp_path: Path, tiny: Params) -> None:
    folder, trainer = _saved(tmp_path, tiny)
    params = tiny.acoustic.model_copy(update={"init": str(folder), "hidden": 32})
    with pytest.raises(KoeError, match=r"acoustic\.init.*tensors"):
        initial_network(params, tiny.mel, trainer.reader.speakers, 1)


def test_lesson_19_learned_speakers_must_be_the_same(tmp_path: Path, values: dict[str, Any], tiny: Params) -> None:
    values["acoustic"]["conditioning"] |= {"by": "learned", "size": 4}
    params = check_params(values)
    folder, trainer = _saved(tmp_path, params)
    others = replace(trainer.reader.speakers, directions=(("toy/x", "toy/z"),))
    started = params.acoustic.model_copy(update={"init": str(folder)})
    with pytest.raises(KoeError, match=r"acoustic\.init.*learned toy/x, toy/y, and the pairs have toy/x, toy/z"):
        initial_network(started, params.mel, others, 1)


@pytest.mark.parametrize("by", ["learned", "encoder"])
def test_conditioned_models_train_and_resume(tmp_path: Path, values: dict[str, Any], tiny: Params, by: str) -> None:
    values["acoustic"]["conditioning"] |= {"by": by, "size": 4}
    trainer = make_trainer(tmp_path, check_params(values))
    before = weights(trainer)
    trainer.run(make_session(tmp_path, trainer))
    changed = {name for name, tensor in weights(trainer).items() if not torch.equal(tensor, before[name])}
    assert {name for name in before if name.startswith("voices.")} <= changed


def test_lesson_13_a_model_of_other_mel_settings_is_refused(tmp_path: Path, tiny: Params) -> None:
    folder, trainer = _saved(tmp_path, tiny)
    params = tiny.acoustic.model_copy(update={"init": str(folder)})
    mel = tiny.mel.model_copy(update={"fmax": 7600.0})
    with pytest.raises(ContractError, match=r"fmax: 8000.*7600"):
        initial_network(params, mel, trainer.reader.speakers, 1)


def test_a_missing_model_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="dvc repro"):
        load_acoustic(tmp_path / "nothing")


def test_lesson_31_generated_mels_have_the_targets_length(tmp_path: Path, tiny: Params) -> None:
    folder, trainer = _saved(tmp_path, tiny)
    dataset, pairs = trainer.reader.dataset, trainer.train + trainer.validation
    generate_mels(load_acoustic(folder), dataset, trainer.reader.durations, pairs, tmp_path / "generated",
                  torch.device("cpu"))
    generated = ShardReader(tmp_path / "generated")
    for pair, _, target in pairs:
        assert generated.get(pair, "mel").shape == dataset.mel(target).shape
