"""A vocoder is its network, its section of the parameters, and a line for each: nothing else knows vocoders by name."""

import json
import shutil
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import pytest
import torch
from pydantic import BeforeValidator, create_model
from support.cards import change_card
from support.small_parameters import shrink_acoustic
from support.small_vocoder import SMALL, Corpus, make_session, make_task
from torch import Tensor, nn

from koe.audio.params import MelParams
from koe.corpus.statistics import Normalization, Statistics
from koe.errors import StoreError
from koe.names import Direction
from koe.params.section import Card, all_contradictions
from koe.statistics import Moments
from koe.tasks.conversion.convert import Converter
from koe.tasks.conversion.declaration import EVALUATION
from koe.tasks.conversion.model_file import AcousticModel, Preparation, build_network
from koe.tasks.conversion.params import AcousticParams
from koe.tasks.conversion.schema import Params
from koe.tasks.conversion.speakers import Speakers
from koe.training.loop import train
from koe.training.references import find_reference
from koe.vocoder import model_file, networks
from koe.vocoder import params as vocoder_params
from koe.vocoder.initial import initial_models, scratch_warning
from koe.vocoder.model_file import VocoderModel, read_vocoder, save_vocoder
from koe.vocoder.model_kind import VOCODER
from koe.vocoder.network import VocoderNetwork
from koe.vocoder.params import NetworkParams, VocoderParams, vocoder_label
from koe.vocoder.registry import load_vocoder


class LinearParams(NetworkParams):
    label: ClassVar[str] = "one linear layer"

    bias: bool


class Linear(VocoderNetwork):
    """Each frame's samples are a linear function of its mel."""

    def __init__(self, sizes: LinearParams, mel_params: MelParams) -> None:
        super().__init__()
        self.layer = nn.Linear(mel_params.n_mels, mel_params.hop_length, bias=sizes.bias)

    def forward(self, mel: Tensor, source: Tensor | None = None) -> Tensor:
        return self.layer(mel).flatten(1)

    def context_frames(self) -> int:
        return 0


class MoreVocoders(VocoderParams):
    PARTS = (*VocoderParams.PARTS, "linear")

    model: Literal["harmonic_noise", "hifigan", "linear"]
    linear: LinearParams | None = None


def card_of(kind: type[Card]) -> type[Card]:
    """That kind of card, for more vocoders."""
    return create_model(kind.__name__, __base__=kind,
                        vocoder=Annotated[MoreVocoders, BeforeValidator(MoreVocoders.used)])


@pytest.fixture()
def more_vocoders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines that a new vocoder adds to its two registries."""
    monkeypatch.setitem(networks.NETWORKS, "linear", Linear)
    monkeypatch.setattr(vocoder_params, "VocoderParams", MoreVocoders)
    monkeypatch.setattr(model_file, "TrainedCard", card_of(model_file.TrainedCard))


@pytest.fixture()
def linear(params: Params, values: dict[str, Any], more_vocoders: None) -> Params:
    """Parameters that choose the new one; the others' sections stay where they are."""
    for name, value in SMALL.items():
        *sections, last = name.split(".")
        section = values
        for part in sections:
            section = section[part]
        section[last] = value
    tree = {**values["vocoder"], "model": "linear", "linear": {"bias": True}}
    return params.model_copy(update={"vocoder": MoreVocoders.model_validate(tree)})


def trained(corpus: Corpus, params: Params, folder: Path) -> Path:
    """The folder of the new vocoder after six steps."""
    task = make_task(corpus, params)
    session = make_session(folder, task)
    train(task, session)
    session.finish()
    save_vocoder(folder / "model", VocoderModel(task.model, task.discriminators, params.vocoder, params.mel, 6))
    return folder / "model"


def test_a_new_vocoder_trains_is_saved_and_speaks(corpus: Corpus, linear: Params, tmp_path: Path) -> None:
    assert not list(all_contradictions(linear.vocoder, "vocoder"))
    assert scratch_warning(linear.vocoder, 1.0) is None
    folder = trained(corpus, linear, tmp_path)
    card = json.loads((folder / "vocoder.json").read_text())
    assert card["vocoder"]["linear"] == {"bias": True} and "hifigan" not in card["vocoder"]
    vocoder = load_vocoder(folder, linear.mel, device="cpu")
    mel = np.random.default_rng(0).normal(-5, 2, (1300, linear.mel.n_mels)).astype(np.float32)  # in pieces
    short, long = vocoder.synthesize([mel[:30], mel])
    assert vocoder.name == "linear" and len(long) == 1300 * linear.mel.hop_length
    layer = read_vocoder(folder).generator.layer
    assert isinstance(layer, nn.Linear)
    with torch.inference_mode():
        assert np.allclose(short, layer(torch.from_numpy(mel[:30])).flatten().numpy(), atol=1e-5)
    assert np.allclose(long[: len(short)], short, atol=1e-5)


def test_a_new_vocoder_speaks_what_is_converted(
    corpus: Corpus, linear: Params, values: dict[str, Any], voice: Any, tmp_path: Path
) -> None:
    shrink_acoustic(values["acoustic"], 16)
    params = linear.model_copy(update={"acoustic": AcousticParams.model_validate(values["acoustic"])})
    anybody = Statistics(Moments(9, np.full(80, -5.0), np.full(80, 2.0)), Moments(9, np.array(5.0), np.array(0.2)),
                         Moments(9, np.array(0.0), np.array(1.0)))
    known = {"c/ann": anybody, "c/bob": anybody}
    speakers = Speakers(params.acoustic.conditioning, (Direction("c/ann", "c/bob"),),
                        Normalization(params.stats, anybody, anybody, anybody, known), True, {})
    preparation = Preparation(params.mel, params.resample, params.trim, params.speaker_pitch)
    model = AcousticModel(build_network(params.acoustic, 80, 2), params.acoustic, speakers, preparation, {})
    vocoder = load_vocoder(trained(corpus, params, tmp_path), params.mel, device="cpu")
    wave = Converter(model, torch.device("cpu"), vocoder).convert(voice(0.8), params.mel.sample_rate)
    assert len(wave) and np.isfinite(wave).all() and len(wave) % params.mel.hop_length == 0


def test_training_goes_on_from_a_new_vocoder(corpus: Corpus, linear: Params, tmp_path: Path) -> None:
    folder = trained(corpus, linear, tmp_path)
    theirs = read_vocoder(folder).generator.state_dict()
    for strict in (True, False):
        init = linear.vocoder.init.model_copy(update={"strict": strict})
        again = initial_models(linear.vocoder.model_copy(update={"init": init}), linear.mel, 6,
                               find_reference(str(folder), folder, [], VOCODER))
        assert all(torch.equal(value, theirs[name]) for name, value in again.generator.state_dict().items())


def test_a_new_vocoder_is_exported_and_runs_from_its_graph(
    corpus: Corpus, linear: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnx")
    from koe.onnx import runtime
    from koe.onnx.export import export_vocoder

    monkeypatch.setattr(runtime, "ExportedCard", card_of(runtime.ExportedCard))
    folder = trained(corpus, linear, tmp_path)
    export_vocoder(tmp_path / "onnx/vocoder", read_vocoder(folder))
    mels = [np.random.default_rng(1).normal(-5, 2, (61, linear.mel.n_mels)).astype(np.float32)]
    [theirs], [ours] = (vocoder.synthesize(mels) for vocoder in (
        runtime.load_vocoder(tmp_path / "onnx"), load_vocoder(folder, linear.mel, device="cpu")))
    assert np.allclose(theirs, ours, atol=1e-5)


def test_pages_call_each_vocoder_by_its_label(more_vocoders: None) -> None:
    assert vocoder_label("linear") == "one linear layer"
    assert EVALUATION.label("hifigan.ceiling") == "ceiling, HiFi-GAN"
    assert EVALUATION.label("harmonic_noise.ceiling") == "ceiling, harmonic + noise"
    assert EVALUATION.label("griffin_lim.converted") == "converted, Griffin-Lim"
    assert EVALUATION.label("of_a_later_version.ceiling") == "ceiling, of_a_later_version"


SHIPPED = {"universal": "harmonic_noise", "hifigan_v2": "hifigan"}


def beside(shipped: Path, folder: Path, **changes: Any) -> Path:
    """A folder with a shipped vocoder's weights, and its card with changes of the section `vocoder`; None removes."""
    folder.mkdir()
    for file in shipped.glob("*.safetensors"):
        (folder / file.name).symlink_to(file)
    shutil.copy(shipped / "vocoder.json", folder)
    change_card(folder / "vocoder.json", lambda card: card.update(vocoder={
        name: value for name, value in {**card["vocoder"], **changes}.items() if value is not None}))
    return folder


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("other", ["as it is", "damaged", "missing", "of a later version"])
def test_a_vocoder_reads_whatever_its_card_says_of_others(root: Path, tmp_path: Path, name: str, other: str) -> None:
    shipped, model = root / "models/pretrained" / name, SHIPPED[name]
    unchosen = "hifigan" if model == "harmonic_noise" else "harmonic_noise"
    changes = {"as it is": {}, "damaged": {unchosen: {"layers": "many"}}, "missing": {unchosen: None},
               "of a later version": {unchosen: {"layers": 3, "attention": True}}}[other]
    read = read_vocoder(beside(shipped, tmp_path / name, **changes))
    assert read.params.model == model and read.params.model_dump(mode="json").keys().isdisjoint({unchosen})
    assert read.params == read_vocoder(shipped).params


@pytest.mark.parametrize("name", SHIPPED)
def test_a_vocoder_reads_when_the_schema_has_one_more(root: Path, name: str, more_vocoders: None) -> None:
    read = read_vocoder(root / "models/pretrained" / name)
    assert (read.params.model, type(read.params)) == (SHIPPED[name], MoreVocoders)


def test_the_chosen_section_is_needed(root: Path, tmp_path: Path) -> None:
    shipped = root / "models/pretrained/universal"
    for index, section in enumerate((None, {"layers": 3})):
        with pytest.raises(StoreError, match=r"vocoder\..* its parameters are of another version of Koe"):
            read_vocoder(beside(shipped, tmp_path / str(index), harmonic_noise=section))
