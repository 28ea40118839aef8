"""Exported models say what PyTorch's say, at any length, and take their place in conversion."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.parameters import changed_params
from support.small_parameters import shrink_acoustic
from support.small_vocoder import as_loud_as_speech

from koe.corpus.statistics import Normalization, Statistics
from koe.errors import ContractError, KoeError, StoreError
from koe.names import Direction
from koe.onnx import files, runtime
from koe.onnx.export import export_acoustic, export_onnx, export_vocoder
from koe.statistics import Moments
from koe.tasks.conversion.data import SourceItem
from koe.tasks.conversion.inference import Adjustment, convert_items
from koe.tasks.conversion.model_file import AcousticModel, Preparation, build_network, save_acoustic
from koe.tasks.conversion.schema import Params, check_params
from koe.tasks.conversion.speakers import Speakers
from koe.vocoder.hifigan import Generator
from koe.vocoder.model_file import VocoderModel
from koe.vocoder.networks import make_network
from koe.vocoder.synthesis import NeuralVocoder

pytest.importorskip("onnx")

CPU = torch.device("cpu")
MOMENTS = Moments(9, np.full(80, -5.0), np.full(80, 2.0)), *[Moments(9, np.array(5.0), np.array(0.2))] * 2
ANYBODY = Statistics(*MOMENTS)


def shaken(network: torch.nn.Module) -> torch.nn.Module:
    """With weights, and statistics of batch norms, as after some training."""
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                value.add_(0.1 * (torch.rand_like(value) if "running_var" in name else torch.randn_like(value)))
    return network


def acoustic_model(params: Params) -> AcousticModel:
    torch.manual_seed(0)
    network = shaken(build_network(params.acoustic, 80, 2)).eval()
    known = {"c/ann": ANYBODY, "c/bob": ANYBODY}
    by_encoder = params.acoustic.conditioning.by == "encoder"
    embeddings = {name: np.full(256, 0.06, np.float32) for name in known} if by_encoder else {}
    speakers = Speakers(params.acoustic.conditioning, (Direction("c/ann", "c/bob"),),
                        Normalization(params.stats, ANYBODY, ANYBODY, ANYBODY, known), True, embeddings)
    preparation = Preparation(params.mel, params.resample, params.trim, params.speaker_pitch)
    return AcousticModel(network, params.acoustic, speakers, preparation, {"made": "by a test"})  # type: ignore[arg-type]


def source(model: AcousticModel, steps: int, seed: int) -> SourceItem:
    generator, network = np.random.default_rng(seed), model.network
    values = steps * network.pitch_embedding.in_channels
    return SourceItem(
        mel=generator.standard_normal((steps, network.reduce.in_features)).astype(np.float32),
        pitch=generator.standard_normal(values).astype(np.float32),
        energy=generator.standard_normal(values).astype(np.float32),
        voiced=generator.random(steps) > 0.3, target=ANYBODY, voices=model.speakers.voices(Direction("c/ann", "c/bob")),
    )


@pytest.mark.parametrize(("by", "positions", "norm", "reduction"), [
    ("none", "rotary", "layer", {"by": "reshape", "factor": 3, "prosody_factor": None}),
    ("learned", "relative", "batch", {"by": "mean", "factor": 2, "prosody_factor": 4}),
    ("encoder", "absolute", "batch", {"by": "slice", "factor": 4, "prosody_factor": 1, "loss": "steps"}),
])
def test_the_acoustic_model_says_the_same(
    values: dict[str, Any], tmp_path: Path, by: str, positions: str, norm: str, reduction: dict[str, Any]
) -> None:
    acoustic = values["acoustic"]
    shrink_acoustic(acoustic, 16, replicas=1)
    acoustic["conditioning"] |= {"by": by, "level": "speaker", "size": 4}
    acoustic["reduction"] |= reduction
    for part in ("encoder", "decoder"):
        acoustic[part] |= {"positions": positions, "norm": norm}
    acoustic["postnet"]["norm"] = norm
    acoustic["postnet"]["layers"] = 0 if by == "none" else 2
    model = acoustic_model(check_params(values))
    export_acoustic(tmp_path / files.ACOUSTIC, model)
    exported = runtime.load_acoustic(tmp_path)
    assert exported.params == model.params and exported.preparation == model.preparation
    items = [source(model, steps, seed) for seed, steps in enumerate((1, 3, 37, 150, 530))]
    adjustment = Adjustment(pitch=3.0, energy=0.7, speed=0.8)
    for batch_size in (1, 3):
        theirs, ours = (convert_items(each.network, items, True, batch_size, CPU, adjustment=adjustment)
                        for each in (exported, model))
        for their, our in zip(theirs, ours, strict=True):
            assert np.array_equal(their.durations, our.durations)
            # Both are float32 and add in another order: some roundings by 6e-8 of log-mels of up to 15, of logarithms
            # of F0 and of energies of about 5 (measured: 5e-6, 9e-7 and 5e-7).
            assert np.abs(their.mel - our.mel).max() < 3e-5
            assert np.allclose(their.f0, our.f0, rtol=5e-6) and np.abs(their.energy - our.energy).max() < 5e-6
    plain = convert_items(exported.network, items, True, 3, CPU)
    assert sum(len(each.mel) for each in plain) < sum(len(each.mel) for each in ours)  # the adjustment was heard


SMALL = {"vocoder.hifigan.upsample_channels": 16, "vocoder.harmonic_noise.layers": 2,
         "vocoder.harmonic_noise.hidden": 16, "vocoder.harmonic_noise.feed_forward": 32}


def vocoder_model(name: str, **mel: float) -> VocoderModel:
    """A small, random vocoder of a model's name; `mel`: parameters of its mel that differ from the project's."""
    torch.manual_seed(0)
    params = changed_params({**SMALL, "vocoder.model": name, **{f"mel.{key}": value for key, value in mel.items()}})
    network = make_network(params.vocoder, params.mel)
    if isinstance(network, Generator):
        as_loud_as_speech(network, np.random.default_rng(0).normal(-5, 2, (60, 80)).astype(np.float32))
    else:
        shaken(network)
    return VocoderModel(network, None, params.vocoder, params.mel, 0)


@pytest.mark.parametrize("name", ["hifigan", "harmonic_noise"])
def test_a_vocoder_says_the_same(tmp_path: Path, name: str) -> None:
    model = vocoder_model(name)
    export_vocoder(tmp_path / files.VOCODER, model)
    exported = runtime.load_vocoder(tmp_path)
    vocoder = NeuralVocoder(name, model.generator, model.mel, CPU, precision="float32")
    assert (exported.name, exported.contract) == (name, vocoder.contract)
    generator = np.random.default_rng(0)
    lengths = (1, 2, 61, 400)
    mels = [generator.normal(-5, 2, (frames, 80)).astype(np.float32) for frames in lengths]
    f0s = [np.where(np.arange(frames) % 30 < 20, generator.uniform(80, 300, frames), 0) for frames in lengths]
    for theirs, ours in zip(exported.synthesize(mels, f0s), vocoder.synthesize(mels, f0s), strict=True):
        assert theirs.shape == ours.shape and ours.std() > 0.02
        # Float32 in both, a hundred roundings by 6e-8 of the loudest (measured: 4e-6). F0, which pulses add up, is one.
        assert np.abs(theirs - ours).max() < 2e-5 * np.abs(ours).max()


def test_a_folder_without_models_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"model\.json does not exist"):
        runtime.load_acoustic(tmp_path)
    with pytest.raises(StoreError, match=r"vocoder\.json does not exist.*export-onnx"):
        runtime.load_vocoder(tmp_path)
    export_vocoder(tmp_path / files.VOCODER, vocoder_model("hifigan"))
    (tmp_path / files.VOCODER / files.NETWORK).write_bytes(b"broken")
    with pytest.raises(StoreError, match=r"network\.onnx is damaged"):
        runtime.load_vocoder(tmp_path)


def test_an_export_without_a_vocoder_does_not_join_an_earlier_one(values: dict[str, Any], tmp_path: Path) -> None:
    shrink_acoustic(values["acoustic"], 16)
    save_acoustic(tmp_path / "trained", acoustic_model(check_params(values)))
    export_vocoder(tmp_path / "out" / files.VOCODER, vocoder_model("hifigan"))
    with pytest.raises(KoeError, match=r"out/vocoder was exported earlier, and this export has no vocoder"):
        export_onnx(tmp_path / "out", tmp_path / "trained")
    assert not (tmp_path / "out" / files.ACOUSTIC).exists()
    export_onnx(tmp_path / "new", tmp_path / "trained")
    assert runtime.load_acoustic(tmp_path / "new").params == check_params(values).acoustic


def test_onnxscript_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    export_vocoder(tmp_path / files.VOCODER, vocoder_model("harmonic_noise"))
    assert (tmp_path / files.VOCODER / files.NETWORK).exists()


def test_a_missing_package_says_how_to_get_it() -> None:
    with pytest.raises(KoeError, match=r"onnx_of_another_name, which is not installed.*'\.\[onnx\]'"):
        files.require("onnx_of_another_name")


def test_models_of_other_mels_do_not_meet(values: dict[str, Any], tmp_path: Path) -> None:
    shrink_acoustic(values["acoustic"], 16)
    params = check_params(values)
    export_acoustic(tmp_path / files.ACOUSTIC, acoustic_model(params))
    export_vocoder(tmp_path / files.VOCODER, vocoder_model("hifigan", fmax=7000.0))
    assert runtime.load_converter(tmp_path, with_vocoder=False).vocoder is None
    with pytest.raises(ContractError, match="fmax"):
        runtime.load_converter(tmp_path)
