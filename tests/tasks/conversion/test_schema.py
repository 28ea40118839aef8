"""params.yaml: every value that cannot work is refused with its name and what would be valid."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.parameters import change, changed_params

from koe.audio.grid import frame_count, frame_rate
from koe.audio.pitch import pitch_range
from koe.errors import ParameterError
from koe.params.reading import read_values
from koe.tasks.conversion.schema import Params, check_params, load_params
from koe.vocoder.params import HiFiGANParams, factorisations
from koe.yaml_files import parse_yaml


def test_the_projects_own_parameters_are_valid(root: Path) -> None:
    params, values = load_params(root / "params.yaml"), read_values(root / "params.yaml")
    assert math.prod(values["vocoder"]["hifigan"]["upsample_rates"]) == params.mel.hop_length  # chosen or not


def test_parameters_cannot_be_changed(params: Params) -> None:
    with pytest.raises(ValueError, match="frozen"):
        params.mel.fmax = 11025.0  # type: ignore[misc]


HIFIGAN = {"vocoder.model": "hifigan"}  # whose sizes are checked only where it is the model

CONTRADICTIONS = [
    ({"mel.fmax": 11026.0}, r"mel\.fmax: 11026 Hz is above half of mel\.sample_rate \(22050\); at most 11025"),
    ({"mel.fmin": 8000.0}, r"mel\.fmin: 8000 Hz is not below mel\.fmax"),
    ({"mel.win_length": 2048}, r"mel\.win_length: 2048 is longer than mel\.n_fft \(1024\)"),
    ({"mel.win_length": 255}, r"mel\.hop_length: 256 is longer than mel\.win_length \(255\)"),
    ({"mel.n_fft": 1025}, r"mel\.n_fft, mel\.hop_length: .* must be even"),
    ({"mel.n_mels": 600}, r"mel\.n_mels: 600 bands from 513 frequency bins"),
    ({"pitch.floor": 700.0}, r"pitch\.floor, pitch\.ceiling: 700 to 600 Hz; expected"),
    ({"corpora.demo.pitch_ranges": {"joe": [10.0, 300.0]}},
     r"corpora\.demo\.pitch_ranges\.joe: 10 to 300 Hz; expected 20"),
    ({"mel.sample_rate": 4000, "mel.fmax": 2000.0, "pitch.ceiling": 1500.0},
     r"pitch\.floor, pitch\.ceiling: .* quarter of mel\.sample_rate \(1000\)"),
    ({"resample.min_seconds": 20.0}, r"resample\.min_seconds: 20 is not below resample\.max_seconds \(20\)"),
    ({"resample.min_seconds": 0.02, "acoustic.reduction.factor": 2},
     r"resample\.min_seconds: .*acoustic\.reduction\.factor .* at least 0\.023"),
    ({"pair.duration_ratio": [1.1, 2.0]}, r"pair\.duration_ratio: \[1\.1, 2\]; expected 0 < low < 1 < high"),
    ({"pair.rule": "both"}, r"pair\.rule, acoustic\.conditioning\.by: .* learned or encoder, or pair\.rule: one_way"),
    ({"pair.rule": "sampled"}, r"pair\.targets_per_source: a number goes with pair\.rule: sampled"),
    ({"pair.targets_per_source": 4}, r"pair\.targets_per_source: .* null with the others \(rule is one_way"),
    ({"pair.rule": "chosen"}, r"pair\.chosen: a list of \[source, target\] goes with pair\.rule: chosen"),
    ({"pair.rule": "chosen", "pair.chosen": [["a", "a"]]}, r"pair\.chosen: pairs 'a' with itself"),
    ({"pair.train": 0.8, "pair.test": 0.2, "pair.validation": 0.1}, r"pair\.train, .* together 1\.1; at most 1"),
    ({"pair.test_speakers": ["a", "b"], "pair.validation_speakers": ["b"]}, r"b cannot be held out for both"),
    ({"pair.test_speakers": ["a"], "acoustic.conditioning.by": "learned"},
     r"pair\.test_speakers, acoustic\.conditioning\.by: .* learned .*; use encoder"),
    ({"align.features": "mel", "align.bands": 81}, r"align\.bands: 81 .* at most 80"),
    ({"align.features": "mcep", "align.order": 80}, r"align\.order: 80 .* at most 79"),
    ({"corpora": {"../x": {"importer": "demo", "path": "a"}}}, r"corpora\.\.\./x: a corpus names folders"),
    ({"corpora": {"a b": {"importer": "demo", "path": "a"}}}, r"corpora\.a b: a corpus names folders"),
    ({"corpora.demo.speakers": ["joe"], "corpora.demo.source": "heart"},
     r"corpora\.demo\.source: 'heart' is not among corpora\.demo\.speakers"),
    ({"corpora.demo.microphone": "mic1"}, r"corpora\.demo\.microphone: importer demo has no such option, only vctk"),
    ({"corpora.demo.subsets": ["a"]}, r"corpora\.demo\.subsets: importer demo .* only jsss, jsut, jvs, libritts"),
    ({"corpora.demo.match": "text"}, r"corpora\.demo\.match: importer demo has no such option"),
    ({"corpora.demo.importer": "jvs", "corpora.demo.match": "table"},
     r"corpora\.demo\.match: table is for importer folders"),
    ({"corpora.demo.importer": "jvs"}, r"pair\.rule: one_way .* no corpus has them; name the two speakers in a corpus"),
    ({"corpora": {"a": {"importer": "jsut", "path": "a", "source": "jsut"},
                  "b": {"importer": "jsss", "path": "b", "target": "jsss"}}}, r"pair\.rule: one_way .* has both"),
    ({"corpora": {"a": {"importer": "folders", "path": "a", "source": "x", "target": "y"},
                  "b": {"importer": "demo", "path": "b"}}},
     r"corpora\.\*\.source, corpora\.\*\.target, acoustic\.conditioning\.by: several speakers.* corpora\.a and "
     r"corpora\.b each have both: leave one"),
    ({"acoustic.conditioning.level": "utterance"}, r"acoustic\.conditioning\.level: utterance goes with by: encoder"),
    ({"corpora.demo.language": False}, r"corpora\.demo\.language: .* YAML takes it for False; put it in quotes"),
    ({"corpora.demo.language": "fr"}, r"corpora\.demo\.language: the demo's sentences are en or ja, not fr"),
    ({"corpora.demo.segments": {"longer_than": 20, "min_seconds": 3, "max_seconds": 15, "min_pause_seconds": 0.2}},
     r"corpora\.demo\.segments: importer demo has no such option, only .*cmu_arctic, .*vctk; leave it out"),
    ({"corpora.demo.importer": "jsss", "corpora.demo.language": None, "corpora.demo.segments":
      {"longer_than": 20, "min_seconds": 9, "max_seconds": 15, "min_pause_seconds": 0.2}},
     r"corpora\.demo\.segments: .* 2 × min_seconds ≤ max_seconds ≤ longer_than"),
    ({"corpora.demo.source": "joe", "corpora.demo.target": "joe"}, r"corpora\.demo\.target: 'joe' is the source too"),
    ({"acoustic.encoder.heads": 3}, r"acoustic\.encoder\.heads: acoustic\.encoder\.attention \(256\) over 3 heads"),
    ({"acoustic.decoder.heads": 256}, r"acoustic\.decoder\.heads: .* even whole number"),
    *(({f"acoustic.{part}.kernel": 4}, rf"acoustic\.{part}\.kernel: 4 is even; .* e\.g\. 5")
      for part in ("encoder", "decoder", "duration", "pitch", "energy", "prosody_embedding", "postnet")),
    ({"acoustic.training.steps": 10}, r"schedule\.warmup_steps: 10 is not below acoustic\.training\.steps"),
    ({"acoustic.training.schedule.final_learning_rate": 0.1}, r"schedule\.final_learning_rate: above"),
    ({"acoustic.training.epochs": 3}, r"acoustic\.training\.steps, acoustic\.training\.epochs: set exactly one"),
    ({"acoustic.postnet.norm": "batch"}, r"acoustic\.training\.replicas: 2 parts .* \(postnet\) need the whole"),
    ({"acoustic.training.batch_size": None}, r"acoustic\.training\.batch_size, acoustic\.training\.batch_frames: set"),
    ({"acoustic.training.optimizer.name": "adam"}, r"optimizer\.weight_decay: 0\.1 with adam"),
    ({"vocoder.model": "hifigan", "vocoder.training.optimizer.name": "muon"}, r"optimizer\.name: muon is for linear"),
    ({"acoustic.training.optimizer.betas": [0.9, 1.0]}, r"optimizer\.betas: \[0\.9, 1\.0\]"),
    ({"acoustic.training.schedule.name": "noam_per_step", "acoustic.training.schedule.warmup_steps": 0},
     r"schedule\.warmup_steps: 0; noam_per_step"),
    ({"acoustic.training.schedule.anneal_steps": [300, 200]}, r"schedule\.anneal_steps: \[300, 200\]; each once"),
    ({"acoustic.reduction.factor": 2, "acoustic.reduction.prosody_factor": 3},
     r"prosody_factor: 3 is neither .* acoustic\.reduction\.factor \(2\)"),
    ({"acoustic.reduction.loss": "steps"}, r"acoustic\.reduction\.loss: steps goes with by: mean or slice"),
    ({"acoustic.teacher_forcing.from_step": 5}, r"acoustic\.teacher_forcing\.until_step: 0 is before"),
    ({"acoustic.loss.mel.l1": 0}, r"acoustic\.loss\.mel: all weights are 0"),
    ({"acoustic.encoder.hidden": 255, "acoustic.encoder.positions": "absolute"}, r"encoder\.hidden: 255 is odd"),
    ({"acoustic.init.from": "base@5", "acoustic.init.keep_optimizer": True, "acoustic.init.strict": False},
     r"acoustic\.init\.keep_optimizer: .* acoustic\.init\.strict: true"),
    ({"acoustic.init.from": "base@v1", "acoustic.init.keep_optimizer": True},
     r"acoustic\.init\.keep_optimizer: .*acoustic\.init\.from: base@v1@<step> or base@v1@best"),
    ({"acoustic.init.from": None, "acoustic.init.freeze": ["encoder."]},
     r"acoustic\.init\.freeze: without acoustic\.init\.from"),
    ({"acoustic.init.from": "base", "acoustic.init.keep_schedule": True},
     r"acoustic\.init\.keep_schedule: .*base@<step>"),
    ({**HIFIGAN, "vocoder.hifigan.upsample_kernels": [16, 16, 4]}, r"upsample_kernels: 3 kernels for 4 upsample_rates"),
    ({**HIFIGAN, "vocoder.hifigan.upsample_kernels": [6, 16, 4, 4]}, r"upsample_kernels: 6 for rate 8; .* e\.g\. 16"),
    ({**HIFIGAN, "vocoder.hifigan.upsample_rates": [16, 16, 1]}, r"upsample_rates: 1 upsamples nothing"),
    ({**HIFIGAN, "vocoder.hifigan.upsample_channels": 40}, r"hifigan\.upsample_channels: 40 cannot be halved 4"),
    ({**HIFIGAN, "vocoder.hifigan.resblock_kernels": [3]}, r"vocoder\.hifigan\.resblock_dilations: one list for each"),
    ({**HIFIGAN, "vocoder.hifigan.resblock_kernels": [3, 6, 7]}, r"vocoder\.hifigan\.resblock_kernels\.1: 6 is even"),
    ({**HIFIGAN, "vocoder.hifigan.resblock_kernels": [], "vocoder.hifigan.resblock_dilations": []},
     r"vocoder\.hifigan\.resblock_kernels: none"),
    ({**HIFIGAN, "vocoder.hifigan.resblock_dilations": [[1], [], [1]]}, r"resblock_dilations: .* no list may be empty"),
    ({"vocoder.harmonic_noise.filters_per_frame": 3}, r"harmonic_noise\.filters_per_frame: .*256.* over 3 .* e\.g\. 2"),
    ({"vocoder.harmonic_noise.n_fft": 200}, r"harmonic_noise\.n_fft: 200; filters .* every 128 samples .* e\.g\. 512"),
    ({"vocoder.harmonic_noise.n_fft": 513}, r"harmonic_noise\.n_fft: 513; filters .* same parity"),
    ({"vocoder.harmonic_noise.kernel": 8}, r"vocoder\.harmonic_noise\.kernel: 8 is even; .* e\.g\. 9"),
    ({"vocoder.training.segment_size": 8000}, r"segment_size: 8000 is not a multiple .* e\.g\. 7936 or 8192"),
    ({"vocoder.training.segment_size": 512}, r"vocoder\.training\.segment_size: 512 is shorter than mel\.n_fft"),
    ({"vocoder.loss.stft_sizes": [32768]}, r"vocoder\.loss\.stft_sizes: 32768 is longer than vocoder\.training\.seg"),
    ({"vocoder.loss.stft_sizes": [510]}, r"vocoder\.loss\.stft_sizes: a quarter of 510 .* e\.g\. 508"),
    ({"vocoder.loss.stft_sizes": []}, r"vocoder\.loss\.stft_sizes: none"),
    ({"vocoder.discriminators.spectra": [65536]}, r"vocoder\.discriminators\.spectra: 65536 is longer than"),
    ({"vocoder.discriminators.periods": [3, 3]}, r"vocoder\.discriminators\.periods: \[3, 3\]; each once"),
    ({"vocoder.discriminators.periods": [16384]}, r"vocoder\.discriminators\.periods: 16384 is not below"),
    ({"vocoder.discriminators.spectra": []}, r"vocoder\.discriminators: periods, scales and spectra are all empty"),
    ({"vocoder.training.r1.weight": 1.0, "vocoder.loss.weights.adversarial": 0,
      "vocoder.loss.weights.feature_matching": 0}, r"vocoder\.training\.r1\.weight: 1 is a penalty on discriminators"),
    ({"vocoder.training.r1.weight": 1.0, "vocoder.discriminators.spectra": []}, r"vocoder\.training\.r1\.weight: 1 is"),
    ({"vocoder.training.blur.share": 0.5, "vocoder.training.true_mels": 0.0},
     r"vocoder\.training\.blur\.share: 0\.5 .*true_mels is 0"),
    ({"vocoder.loss.weights.mel": 0, "vocoder.loss.weights.stft": 0}, r"vocoder\.loss\.weights\.mel, .*: both are 0"),
    ({"vocoder.training.optimizer.betas": [1.0, 0.9]}, r"vocoder\.training\.optimizer\.betas: \[1\.0, 0\.9\]"),
    ({"vocoder.training.steps": 10}, r"vocoder\.training\.schedule\.warmup_steps: 10 is not below"),
    ({"vocoder.training.schedule.name": "noam_per_step"}, r"vocoder\.training\.schedule\.name: noam_per_step goes by"),
    ({"vocoder.training.validation.players": 9}, r"validation\.players: 9 is more than .*\.validation\.utterances"),
    ({"vocoder.init.from": "v", "vocoder.init.optimizer": "keep"}, r"vocoder\.init\.optimizer: .*v@<step> or v@best"),
    ({"vocoder.init.from": "v@5", "vocoder.init.optimizer": "keep", "vocoder.init.generator": "reset"},
     r"vocoder\.init\.optimizer: .* vocoder\.init\.generator: keep"),
    ({"vocoder.init.from": "v@5", "vocoder.init.optimizer": "keep", "vocoder.init.strict": False},
     r"vocoder\.init\.optimizer: .* vocoder\.init\.strict: true"),
]


@pytest.mark.parametrize("changes, message", CONTRADICTIONS, ids=[" ".join(changes) for changes, _ in CONTRADICTIONS])
def test_contradictions_are_refused_by_name(values: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        check_params(change(values, changes))


def test_lesson_05_hop_and_upsampling_must_agree() -> None:
    with pytest.raises(ParameterError) as raised:
        changed_params({**HIFIGAN, "mel.hop_length": 300, "resample.min_seconds": 0.5})
    message = str(raised.value)
    assert "vocoder.hifigan.upsample_rates: [8, 8, 2, 2] multiply to 256, but mel.hop_length is 300" in message
    assert "[5, 5, 4, 3]" in message
    assert "vocoder.training.segment_size: 16384 is not a multiple of mel.hop_length (300); e.g. 16500 or 9600" in (
        message)


@pytest.mark.parametrize("hop_length, first", [(256, [4, 4, 4, 4]), (300, [5, 5, 4, 3]), (240, [5, 4, 4, 3]), (7, [7])])
def test_lesson_05_what_is_proposed(hop_length: int, first: list[int]) -> None:
    assert factorisations(hop_length)[0] == first


@given(st.integers(2, 2000))
def test_lesson_05_every_proposal_multiplies_to_the_hop(hop_length: int) -> None:
    proposals = factorisations(hop_length)
    assert 1 <= len(proposals) <= 2
    for rates in proposals:
        assert math.prod(rates) == hop_length
        assert rates == sorted(rates, reverse=True) and min(rates) > 1


@pytest.mark.parametrize("rates, kernels", [([5, 5, 4, 3], [11, 11, 8, 7]), ([5, 5, 4, 3], [10, 10, 8, 6]),
                                            ([10, 6, 5], [20, 12, 11])])
def test_lesson_05_a_proposal_is_accepted(rates: list[int], kernels: list[int]) -> None:
    params = changed_params({
        **HIFIGAN, "mel.hop_length": 300, "vocoder.training.segment_size": 9600,
        "vocoder.hifigan.upsample_rates": rates, "vocoder.hifigan.upsample_kernels": kernels})
    assert params.vocoder.part(HiFiGANParams).upsample_rates == rates


@pytest.mark.parametrize("changes", [
    {"mel.fmax": 20000.0, "pair.duration_ratio": [2.0, 0.5], "acoustic.reduction.loss": "steps"},
    {"mel.floor": 0.0, "pair.test": 0, "acoustic.pitch.kernel": 4},
], ids=["contradictions", "types"])
def test_all_that_is_wrong_is_listed_at_once(values: dict[str, Any], changes: dict[str, Any]) -> None:
    with pytest.raises(ParameterError) as raised:
        check_params(change(values, changes), "some.yaml")
    lines = str(raised.value).splitlines()
    assert lines[0] == "some.yaml:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == list(changes)


@pytest.mark.parametrize(
    "path, sibling",
    [("melt", "mel"), ("mel.f_max", "fmax"), ("acoustic.pitch.stop_gradients", "stop_gradient"),
     ("corpora.demo.sorce", "source"), ("vocoder.training.step", "steps")],
)
def test_unknown_names_are_refused_with_those_that_exist(values: dict[str, Any], path: str, sibling: str) -> None:
    with pytest.raises(ParameterError) as raised:
        check_params(change(values, {path: 1}))
    line = next(line for line in str(raised.value).splitlines() if "no such parameter" in line)
    assert line.strip().startswith(f"{path}: ")
    assert sibling in line.partition("this section has ")[2].split(", ")


@pytest.mark.parametrize("path", ["seed", "mel.n_mels", "acoustic.decoder", "align.method", "vocoder.init"])
def test_missing_names_are_refused(values: dict[str, Any], path: str) -> None:
    *sections, last = path.split(".")
    section = values
    for name in sections:
        section = section[name]
    del section[last]
    with pytest.raises(ParameterError, match=f"  {path}: missing"):
        check_params(values)


@pytest.mark.parametrize(
    "path, value",
    [("seed", -1), ("seed", None), ("mel.n_mels", "many"), ("mel.n_mels", 2.5), ("mel.n_mels", 0),
     ("mel.fmax", [8000]), ("mel.floor", 0.0), ("mel.fmax", math.nan), ("mel.fmax", math.inf), ("mel", 3),
     ("corpora", {}), ("corpora.demo.importer", "jsut2"), ("corpora.demo.hash", "md5"),
     ("pitch.method", "yin"), ("align.method", "ctc"),
     ("pair.duration_ratio", [0.5]), ("pair.test", 0), ("pair.test", 1.5), ("pair.train", 1.0),
     ("pair.chosen", [["a"]]), ("stats.mel", "corpus"),  ("acoustic.reduction.factor", 7),
     ("acoustic.pitch.stop_gradient", "maybe"), ("acoustic.encoder.dropout", 1.0), ("resample.max_clipped", 1.5),
     ("trim.head_db", 3.0), ("vocoder.hifigan.resblock", "3"), ("vocoder.hifigan.upsample_rates", 256),
     ("vocoder.training.schedule.decay", 1.5), ("vocoder.training.true_mels", 1.1), ("vocoder.model", "wavenet")],
)
def test_wrong_types_and_values_name_the_parameter_and_the_value(
    values: dict[str, Any], path: str, value: Any
) -> None:
    with pytest.raises(ParameterError) as raised:
        check_params(change(values, {path: value}))
    lines = [line.strip() for line in str(raised.value).splitlines()[1:]]
    assert lines and all(line.startswith(path) for line in lines)


def test_numbers_as_the_command_line_writes_them() -> None:
    written = parse_yaml("1e-4", "it")  # a text to YAML 1.1
    params = changed_params({"acoustic.training.schedule.learning_rate": written})
    assert params.acoustic.training.schedule.learning_rate == 1e-4


def test_a_missing_file_and_a_broken_file(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="does not exist; run from the pipeline's folder"):
        load_params(tmp_path / "params.yaml")
    for content, message in (("seed: [1", "not valid YAML"), ("", "holds nothing"), ("- 1", "holds a list")):
        (tmp_path / "params.yaml").write_text(content)
        with pytest.raises(ParameterError, match=message):
            load_params(tmp_path / "params.yaml")


def test_lesson_24_frames_are_whole_hops(params: Params) -> None:
    assert [frame_count(samples, params.mel) for samples in (0, 255, 256, 511, 512)] == [0, 0, 1, 1, 2]
    assert frame_rate(params.mel) == pytest.approx(86.13, abs=0.01)


def test_a_speakers_own_pitch_range(params: Params) -> None:
    pitch = params.speaker_pitch
    assert pitch_range(pitch, "demo/joe") == (50.0, 300.0)
    assert pitch_range(pitch, "other/joe") == (params.pitch.floor, params.pitch.ceiling)


@pytest.mark.parametrize("shares", [(0.56, 0.33, 0.11), (0.8, 0.1, 0.1), (0.7, 0.2, 0.1)])
def test_shares_that_make_up_the_whole_are_valid(values: dict[str, Any], shares: tuple[float, float, float]) -> None:
    values["pair"] |= dict(zip(("train", "validation", "test"), shares, strict=True))
    assert check_params(values).pair.train == shares[0]


def test_roles_may_lie_in_two_corpora_that_pair(values: dict[str, Any]) -> None:
    values["corpora"] = {"a": {"importer": "jsut", "path": "a", "source": "jsut"},
                         "b": {"importer": "jsss", "path": "b", "target": "jsss"}}
    values["pair"]["across_corpora"] = True
    assert check_params(values).pair.rule == "one_way"
