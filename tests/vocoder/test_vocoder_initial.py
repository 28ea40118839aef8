"""What a vocoder's training starts from: weights, discriminators and optimizers, each kept or not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.parameters import project_values
from support.small_vocoder import Corpus, make_session, make_task, small_params
from torch import nn

from koe.audio.params import MelParams
from koe.errors import ContractError, KoeError
from koe.files import read_json
from koe.tasks.conversion.schema import Params
from koe.training.loop import train
from koe.training.references import ModelReference, find_reference
from koe.vocoder.data import MelAudio
from koe.vocoder.initial import Initial, initial_models, scratch_warning
from koe.vocoder.model_file import VocoderModel, read_vocoder, save_vocoder
from koe.vocoder.model_kind import VOCODER
from koe.vocoder.params import VocoderParams
from koe.vocoder.run import train_vocoder
from koe.vocoder.training import VocoderTask

WithParams = Callable[..., Params]
SEED = 6  # that of the run that starts; the other had 3


@pytest.fixture(scope="module")
def base(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, VocoderTask]:
    """The folder of a vocoder of six steps, of which the third and the best were kept, and how it was trained."""
    place = tmp_path_factory.mktemp("base")
    params = small_params(project_values(), {
        "vocoder.training.ema": 0.9, "vocoder.training.keep_every": 3, "vocoder.training.keep_best": True})
    task = make_task(corpus, params)
    session = make_session(place, task)
    train(task, session)
    session.finish()
    save_vocoder(place / "model", VocoderModel(task.model, task.discriminators, params.vocoder, params.mel, 6,
                                               {"run": session.folder.name, "revision": "abc"}))
    return place / "model", task


def reference(folder: Path, checkpoint: str = "") -> ModelReference:
    return find_reference(f"{folder}{checkpoint}", folder, [folder.parent / "work"], VOCODER)


def start(params: Params, folder: Path, checkpoint: str = "", **init: Any) -> Initial:
    changed = params.vocoder.init.model_copy(update=init)
    return initial_models(params.vocoder.model_copy(update={"init": changed}), params.mel, SEED,
                          reference(folder, checkpoint))


def fresh(params: VocoderParams, mel: MelParams) -> Initial:
    return initial_models(params, mel, SEED)


def same(left: nn.Module, right: nn.Module) -> bool:
    theirs = right.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in left.state_dict().items())


@pytest.mark.parametrize("part", ["generator", "discriminators"])
@pytest.mark.parametrize("keep", [True, False])
def test_each_network_is_kept_or_reset(
    base: tuple[Path, VocoderTask], with_params: WithParams, part: str, keep: bool
) -> None:
    folder, task = base
    params = with_params()
    initial = start(params, folder, **{part: "keep" if keep else "reset"})
    given = {"generator": task.model, "discriminators": task.discriminators}
    for name, network in given.items():
        expected = network if keep or name != part else getattr(fresh(params.vocoder, params.mel), name)
        assert same(getattr(initial, name), expected), name
    assert initial.optimizer_states == {}


def test_lesson_01_a_vocoder_says_what_it_started_from(
    corpus: Corpus, base: tuple[Path, VocoderTask], with_params: WithParams, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KOE_WORK", str(tmp_path / "work"))
    dataset, items, generated = corpus
    data = MelAudio(dataset, items[:2], generated)
    params = with_params({"vocoder.training.steps": 1, "vocoder.training.spectral_steps": 1})
    theirs = reference(base[0])
    train_vocoder(params.vocoder, data, data, SEED, theirs, params.speaker_pitch, "the data", "the code", "def",
                  tmp_path / "curves", tmp_path / "model")
    assert f"from: {base[0]}, {base[0]}\ngenerator: taken\ndiscriminators: taken" in capsys.readouterr().out
    provenance = read_json(tmp_path / "model/vocoder.json")["provenance"]
    assert (provenance["inputs"], provenance["code"], provenance["revision"]) == ("the data", "the code", "def")
    assert provenance["init"] == theirs.origin()
    assert provenance["init"]["run"].startswith("vocoder-") and provenance["init"]["steps"] == 6


def test_lesson_21_a_kept_checkpoint_gives_its_average_and_with_the_optimizers_the_weights_they_moved(
    base: tuple[Path, VocoderTask], with_params: WithParams
) -> None:
    folder, _ = base
    params = with_params()
    averaged, moved = (start(params, folder, "@best", optimizer=optimizer) for optimizer in ("reset", "keep"))
    assert not same(averaged.generator, moved.generator)
    assert same(averaged.discriminators, moved.discriminators)
    assert moved.optimizer_states.keys() == {"generator", "discriminators"}
    assert not same(start(params, folder, "@3").generator, start(params, folder).generator)


def test_kept_optimizers_go_on(
    corpus: Corpus, base: tuple[Path, VocoderTask], with_params: WithParams
) -> None:
    folder, _ = base
    task = make_task(corpus, with_params({"vocoder.init.from": "base@3", "vocoder.init.optimizer": "keep"}),
                     start=reference(folder, "@3"))
    for optimizer, steps in ((task.generator_optimizer, 3), (task.discriminator_optimizer, 1)):
        states = optimizer.state_dict()["state"]
        assert len(states) and {int(state["step"]) for state in states.values()} == {steps}  # two steps were spectral
    only = start(with_params(), folder, "@3", optimizer="keep", discriminators="reset")
    assert only.optimizer_states.keys() == {"generator"}


def test_a_finished_vocoder_has_no_optimizer_to_keep(
    base: tuple[Path, VocoderTask], with_params: WithParams
) -> None:
    with pytest.raises(KoeError, match=r"vocoder\.init\.optimizer: .*keep_every, keep_best.*@<step>"):
        start(with_params(), base[0], optimizer="keep")


def test_of_a_step_that_was_not_kept_the_others_are_named(base: tuple[Path, VocoderTask]) -> None:
    with pytest.raises(KoeError, match=r"vocoder\.init\.from: .*@5: .*there are 3, 6, best$"):
        reference(base[0], "@5")


def test_the_scale_multiplies_the_schedule(
    corpus: Corpus, base: tuple[Path, VocoderTask], with_params: WithParams
) -> None:
    rates = [make_task(corpus, with_params({"vocoder.init.from": origin, "vocoder.init.lr_scale": 0.25}),
                       start=reference(base[0]) if origin else None).learning_rate(3) for origin in (None, "base")]
    assert rates[1] == pytest.approx(0.25 * rates[0])


def test_a_folder_without_discriminators_says_so(
    base: tuple[Path, VocoderTask], with_params: WithParams, tmp_path: Path
) -> None:
    model = read_vocoder(base[0])
    alone = VocoderModel(model.generator, None, model.params, model.mel, model.steps)
    save_vocoder(tmp_path / "alone", alone)
    params = with_params()
    initial = start(params, tmp_path / "alone")
    assert any("discriminators:" in line and "start at random" in line for line in initial.report)
    assert same(initial.discriminators, fresh(params.vocoder, params.mel).discriminators)


def test_lesson_13_other_mel_settings_are_refused(
    base: tuple[Path, VocoderTask], with_params: WithParams
) -> None:
    with pytest.raises(ContractError, match=r"fmax: 8000\.0 in vocoder\.init\.from.*11025\.0 in params\.yaml"):
        start(with_params({"mel.fmax": 11025.0}), base[0])


@pytest.mark.parametrize(("changes", "told"), [
    ({"vocoder.hifigan.upsample_channels": 32}, r"generator.*hifigan\.upsample_channels: 16 there, 32 here"),
    ({"vocoder.hifigan.resblock_dilations": [[1, 3]]}, r"generator.*resblock_dilations: .*2.* there, .*3.* here"),
    ({"vocoder.discriminators.periods": [2, 5]}, r"discriminators.*periods: \[2, 3\] there, \[2, 5\] here"),
    ({"vocoder.model": "harmonic_noise"}, r"generator.*model: hifigan there, harmonic_noise here"),
])
def test_other_sizes_are_refused_with_both_values(
    base: tuple[Path, VocoderTask], with_params: WithParams, changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(KoeError, match=rf"(?s)vocoder\.init\.from: .*strict: false.*{told}"):
        start(with_params(changes), base[0])


def test_lesson_14_other_upsampling_layers_start_at_random_and_the_rest_is_taken(
    base: tuple[Path, VocoderTask], with_params: WithParams
) -> None:
    folder, task = base
    params = with_params({"vocoder.hifigan.upsample_rates": [8, 8, 4], "vocoder.hifigan.upsample_kernels": [16, 16, 8]})
    initial = start(params, folder, strict=False)
    mine, theirs = initial.generator.state_dict(), task.model.state_dict()
    random = fresh(params.vocoder, params.mel).generator.state_dict()
    for name, tensor in mine.items():
        changed = name.startswith(("ups.2.", "conv_post."))
        assert torch.equal(tensor, random[name] if changed else theirs[name]), name
    table = "\n".join(initial.report)
    assert "module     taken  missing  unused  shape differs" in table
    assert [line.split() for line in initial.report if line.startswith("ups ")] == [["ups", "6", "3", "6", "0"]]
    assert "ups.2 (upsampling 3: rate 4, kernel 8): none there, so random" in initial.report
    assert "ups.1 " not in table
    assert "conv_post.weight_v: 1×1×7 there, 1×2×7 here" in table


def test_lesson_14_layers_of_one_shape_that_mean_something_else_are_not_taken(
    base: tuple[Path, VocoderTask], with_params: WithParams
) -> None:
    folder, task = base
    params = with_params({
        "vocoder.hifigan.upsample_rates": [4, 16, 2, 2], "vocoder.hifigan.resblock_kernels": [3, 3],
        "vocoder.hifigan.resblock_dilations": [[1, 3], [1, 2]], "vocoder.discriminators.periods": [5, 3, 2],
        "vocoder.discriminators.spectra": [512, 256]})
    initial = start(params, folder, strict=False)
    random = fresh(params.vocoder, params.mel)
    pairs = [("generator", task.model, (f"ups.{place}.", None)) for place in (0, 1)]
    pairs += [("generator", task.model, (f"ups.{place}.", f"ups.{place}.")) for place in (2, 3)]
    pairs += [("generator", task.model, (f"resblocks.{2 * stage}.", None)) for stage in range(4)]
    pairs += [("generator", task.model, (f"resblocks.{2 * stage + 1}.", f"resblocks.{stage}."))
              for stage in range(4)]
    pairs += [("discriminators", task.discriminators, (f"{kind}.discriminators.{here}.",
                                                       None if there is None else f"{kind}.discriminators.{there}."))
              for kind, here, there in (("mpd", 0, None), ("mpd", 1, 1), ("mpd", 2, 0), ("msd", 0, 0), ("msd", 1, 1),
                                        ("msp", 0, None), ("msp", 1, 0))]
    for part, theirs, (here, there) in pairs:
        for name, tensor in getattr(initial, part).state_dict().items():
            if name.startswith(here):
                expected = (getattr(random, part).state_dict()[name] if there is None else
                            theirs.state_dict()[there + name.removeprefix(here)])
                assert torch.equal(tensor, expected), name
    for line in ("ups.1 (upsampling 2: rate 16, kernel 16)", "resblocks.2 (after upsampling 2: kernel 3, dilations "
                 "[1, 3])", "mpd.discriminators.0 (period 5)", "msp.discriminators.0 (FFT size 512)"):
        assert f"{line}: none there, so random" in initial.report


def test_lesson_14_at_another_rate_what_fits_is_taken_and_the_mel_settings_are_told(
    base: tuple[Path, VocoderTask], with_params: WithParams
) -> None:
    params = with_params({"mel.fmax": 11025.0, "vocoder.discriminators.periods": [2, 3, 5]})
    initial = start(params, base[0], strict=False)
    assert same(initial.generator, base[1].model)
    assert any("fmax: 8000.0" in line for line in initial.report)
    assert torch.equal(initial.discriminators.state_dict()["mpd.discriminators.1.conv_post.bias"],
                       base[1].discriminators.state_dict()["mpd.discriminators.1.conv_post.bias"])


def test_lesson_14_where_nothing_fits_it_says_so(
    base: tuple[Path, VocoderTask], with_params: WithParams
) -> None:
    for changes in ({"vocoder.model": "harmonic_noise"}, {"vocoder.hifigan.upsample_channels": 32}):
        with pytest.raises(KoeError, match=r"(?s)nothing of the generator .*init\.generator: reset.*module"):
            start(with_params(changes), base[0], strict=False)


def test_half_precision_is_read_as_single(base: tuple[Path, VocoderTask], tmp_path: Path) -> None:
    model = read_vocoder(base[0])
    save_vocoder(tmp_path / "half", model, half=True)
    sizes = [(folder / "generator.safetensors").stat().st_size for folder in (base[0], tmp_path / "half")]
    assert sizes[1] < 0.7 * sizes[0]
    read = read_vocoder(tmp_path / "half").generator.state_dict()
    for name, tensor in model.generator.state_dict().items():
        assert read[name].dtype == torch.float32
        assert torch.allclose(read[name], tensor, rtol=1e-3, atol=1e-6), name


def test_lesson_11_hifigan_from_scratch_warns_with_the_amount_of_data(
    base: tuple[Path, VocoderTask], with_params: WithParams
) -> None:
    params = with_params().vocoder
    warning = scratch_warning(params, 1.26)
    assert warning is not None and "WARNING" in warning and "1.26 hours" in warning and "vocoder.init.from" in warning
    assert scratch_warning(params.model_copy(update={"model": "harmonic_noise"}), 1.26) is None
    for generator, warns in (("keep", False), ("reset", True)):
        init = params.init.model_copy(update={"origin": str(base[0]), "generator": generator})
        assert (scratch_warning(params.model_copy(update={"init": init}), 1.26) is not None) == warns


def test_lesson_11_a_recording_in_two_pairs_is_counted_once(corpus: Corpus) -> None:
    dataset, items, _ = corpus
    data = MelAudio(dataset, [*items, ("again", items[0][1])])
    assert data.hours == pytest.approx(sum((70, 64, 40, 90, 33)) * 256 / 22050 / 3600)

