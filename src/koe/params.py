"""Typed parameters: one `params.yaml`, read and checked in full before anything is computed.

`load_params` is the only reader of the file; what values must not say together is in `koe.contradictions`.
Everything else in `koe` receives these objects, so that no module depends on where parameters come from. Every error
names the parameter, what it was and what would be valid.
"""

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from koe.contradictions import contradictions
from koe.errors import ParameterError

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Decibels = Annotated[float, Field(le=0, ge=-200)]
Seconds = Annotated[float, Field(ge=0)]


def _composed(name: str) -> str:
    """Unicode has two spellings of が and é, and file systems use both; names are compared in one, NFC."""
    return unicodedata.normalize("NFC", name)


Name = Annotated[str, AfterValidator(_composed)]


def _count_or_share(value: int | float) -> int | float:
    if value < 1 if isinstance(value, int) else not 0 < value < 1:
        raise ValueError("expected a whole number from 1 up, or a share between 0 and 1")
    return value


CountOrShare = Annotated[int | float, AfterValidator(_count_or_share)]


class Section(BaseModel):
    """A part of params.yaml: immutable, and no unknown names."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)


class SegmentParams(Section):
    """Cutting long recordings at pauses into pieces (lesson 9: an option, off unless a corpus asks for it)."""

    longer_than: Annotated[float, Field(gt=0)]
    min_seconds: Annotated[float, Field(gt=0)]
    max_seconds: Annotated[float, Field(gt=0)]
    min_pause_seconds: Annotated[float, Field(gt=0)]


class CorpusParams(Section):
    """One corpus. What an importer does not use must stay null (`koe.contradictions.IMPORTER_OPTIONS`)."""

    importer: Literal["demo", "folders", "table", "jsut", "jsss", "jvs", "ljspeech", "vctk", "libritts", "cmu_arctic",
                      "asterisk"]
    path: str
    hash: Literal["content", "stat"] = "content"
    language: Annotated[str, Field(pattern="^[a-z]{2,3}$")] | None = None
    speakers: Annotated[list[Name], Field(min_length=1)] | None = None
    source: Name | None = None
    target: Name | None = None
    utterances: Positive | None = None
    subsets: Annotated[list[str], Field(min_length=1)] | None = None
    microphone: Literal["mic1", "mic2"] | None = None
    match: Literal["name", "table", "text"] | None = None
    pitch_ranges: dict[Name, tuple[float, float]] = {}
    segments: SegmentParams | None = None


class MelParams(Section):
    """The mel contract. Two things that hold mels may meet only if all of this is equal (lesson 13)."""

    sample_rate: Annotated[int, Field(ge=4000, le=192000)]
    n_fft: Positive
    hop_length: Positive
    win_length: Positive
    n_mels: Positive
    fmin: Annotated[float, Field(ge=0)]
    fmax: Annotated[float, Field(gt=0)]
    floor: Annotated[float, Field(gt=0, lt=1)]

    def contract(self) -> dict[str, Any]:
        """What is stored with mels: every setting, and the conventions that are not parameters."""
        return {**self.model_dump(), "scale": "slaney", "log": "natural", "magnitude": "amplitude",
                "padding": "reflect, (n_fft - hop_length) / 2, not centred", "normalized": False}

    def frames(self, samples: int) -> int:
        """Frames of a waveform of so many samples: the one frame grid of mel, F0 and energy (lesson 24)."""
        return samples // self.hop_length

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_length


class ResampleParams(Section):
    quality: Literal["QQ", "LQ", "MQ", "HQ", "VHQ"]
    min_seconds: Seconds
    max_seconds: Seconds
    max_clipped: Share
    silence_db: Decibels
    loudness_lufs: Annotated[float, Field(le=0, ge=-70)] | None


class TrimParams(Section):
    head_db: Decibels
    tail_db: Decibels
    margin_seconds: Seconds
    min_silence_seconds: Seconds
    suspect_outside_db: Decibels
    suspect_voicing: Share


class PitchParams(Section):
    method: Literal["dio", "dio_plain", "harvest", "crepe"]
    floor: Annotated[float, Field(ge=20)]
    ceiling: Annotated[float, Field(le=2000)]


class SpeakerPitch(PitchParams):
    """The pitch section with the ranges of speakers whose range is known, by `<corpus>/<speaker>`."""

    ranges: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, pitch: PitchParams, corpora: Mapping[str, CorpusParams]) -> "SpeakerPitch":
        """With `corpora.<name>.pitch_ranges` of these corpora."""
        ranges = {f"{name}/{speaker}": limits for name, corpus in corpora.items()
                  for speaker, limits in corpus.pitch_ranges.items()}
        return cls(**pitch.model_dump(), ranges=ranges)

    def range_of(self, speaker: str) -> tuple[float, float]:
        """Floor and ceiling for a speaker `<corpus>/<speaker>`, Hz."""
        return self.ranges.get(speaker, (self.floor, self.ceiling))


class PairParams(Section):
    rule: Literal["one_way", "both", "all", "sampled", "chosen"]
    targets_per_source: Positive | None
    chosen: list[tuple[Name, Name]]
    across_corpora: bool
    duration_ratio: tuple[float, float]
    train: CountOrShare | None
    validation: CountOrShare
    test: CountOrShare
    validation_speakers: list[Name]
    test_speakers: list[Name]


Level = Literal["side", "speaker", "global"]


class StatsParams(Section):
    mel: Level
    pitch: Level
    energy: Level
    outliers: Annotated[float, Field(gt=0)] | None


class AlignTraining(Section):
    steps: Positive
    batch_size: Positive
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Annotated[int, Field(ge=0)]
    gradient_clip: Annotated[float, Field(gt=0)]
    log_every: Positive
    validate_every: Positive
    validation_pairs: Positive
    checkpoint_every: Positive


class AttentionAlignParams(Section):
    """The autoregressive teacher; see `koe.align.attention`."""

    layers: Positive
    hidden: Positive
    kernel: Positive
    dropout: Dropout
    prenet_dropout: Dropout
    guided_weight: Annotated[float, Field(ge=0)]
    guided_width: Annotated[float, Field(gt=0)]
    training: AlignTraining


class LearnedAlignParams(Section):
    """Learned alignment search; see `koe.align.learned`."""

    layers: Positive
    hidden: Positive
    channels: Positive
    kernel: Positive
    binarization_from: Share
    training: AlignTraining


AlignMethod = Literal["dtw", "attention", "learned"]


class AlignParams(Section):
    method: AlignMethod
    compare: AlignMethod | None
    features: Literal["mcep", "mel"]
    bands: Positive
    order: Positive
    normalize: bool
    delta: Annotated[float, Field(ge=0)]
    penalty: Annotated[float, Field(ge=0)]
    band_seconds: Annotated[float, Field(gt=0)]
    silence_db: Decibels
    spread_silence: bool
    suspect_cost: Annotated[float, Field(gt=0)]
    suspect_run_seconds: Seconds
    attention: AttentionAlignParams
    learned: LearnedAlignParams


Factor = Annotated[int, Field(ge=1, le=6)]
Norm = Literal["layer", "batch"]
Weight = Annotated[float, Field(ge=0)]


class ConditioningParams(Section):
    by: Literal["none", "learned", "encoder"]
    level: Literal["speaker", "utterance"]
    size: Positive


class ReductionParams(Section):
    """How frames become steps and steps frames; see `koe.acoustic.reduction`."""

    by: Literal["reshape", "mean", "slice"]
    factor: Factor
    loss: Literal["frames", "steps"]
    prosody_by: Literal["mean", "slice"]
    prosody_factor: Factor | None

    @property
    def frames_a_value(self) -> int:
        """Frames that one value of pitch and of energy stands for."""
        return self.factor if self.prosody_factor is None else self.prosody_factor


class TeacherForcingParams(Section):
    """Share of a batch that is trained on the target's prosody: `start` until `from_step`, `end` from `until_step`."""

    start: Share
    end: Share
    from_step: Annotated[int, Field(ge=0)]
    until_step: Annotated[int, Field(ge=0)]


class ConformerParams(Section):
    layers: Positive
    hidden: Positive
    attention: Positive
    heads: Positive
    feed_forward: Positive
    convolution: Positive
    kernel: Positive
    positions: Literal["rotary", "relative", "absolute"]
    norm: Norm
    dropout: Dropout
    inner_dropout: Dropout
    attention_dropout: Dropout


class PredictorParams(Section):
    layers: Positive
    kernel: Positive
    filter: Positive
    dropout: Dropout
    stop_gradient: bool


class ProsodyEmbeddingParams(Section):
    kernel: Positive
    dropout: Dropout


class PostnetParams(Section):
    layers: Annotated[int, Field(ge=0)]
    kernel: Positive
    filter: Positive
    norm: Norm
    dropout: Dropout


class MelLossParams(Section):
    """Weights of the mel's distances, which are added; see `koe.acoustic.losses`."""

    l1: Weight
    l2: Weight
    huber: Weight
    ssim: Weight


class AcousticLossWeights(Section):
    mel: Weight
    postnet: Weight
    duration: Weight
    pitch: Weight
    energy: Weight


class AcousticLossParams(Section):
    mel: MelLossParams
    duration: Literal["guided", "plain", "log"]
    weights: AcousticLossWeights


class OptimizerParams(Section):
    name: Literal["adam", "adamw", "radam", "muon"]
    betas: tuple[float, float]
    epsilon: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]


class ScheduleParams(Section):
    """Learning rate; the name says what it counts (lesson 16). See `koe.training.schedules`."""

    name: Literal["cosine_per_step", "noam_per_step", "exponential_per_step", "exponential_per_epoch", "constant"]
    learning_rate: Annotated[float, Field(gt=0)]
    warmup_steps: Annotated[int, Field(ge=0)]
    final_learning_rate: Annotated[float, Field(ge=0)]
    decay: Annotated[float, Field(gt=0, le=1)]
    anneal_steps: list[Positive]
    anneal_rate: Annotated[float, Field(gt=0, le=1)]


class AcousticTraining(Section):
    steps: Positive | None
    epochs: Positive | None
    batch_size: Positive | None
    batch_frames: Positive | None
    accumulate: Positive
    replicas: Positive
    shift: bool
    optimizer: OptimizerParams
    schedule: ScheduleParams
    gradient_clip: Annotated[float, Field(gt=0)] | None
    gradient_limit: Annotated[float, Field(gt=0)] | None
    ema: Annotated[float, Field(ge=0, lt=1)] | None
    average_best: Positive | None
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    compile: bool
    early_stopping: Positive | None
    log_every: Positive
    validate_every: Positive
    validation_pairs: Positive
    pictures: Annotated[int, Field(ge=0)]
    tensorboard: bool
    checkpoint_every: Positive
    keep_every: Positive | None
    keep_best: bool


class InitParams(Section):
    """What a training starts from (lessons 14, 19, 21, 27); without `from` the rest has no effect."""

    model_config = ConfigDict(serialize_by_alias=True)

    origin: str | None = Field(alias="from")
    keep_optimizer: bool
    keep_schedule: bool
    lr_scale: Annotated[float, Field(gt=0)]
    strict: bool
    statistics: Literal["theirs", "own"]
    freeze: list[str]


class AcousticParams(Section):
    model: Literal["nars2s"]
    conditioning: ConditioningParams
    reduction: ReductionParams
    normalize_target: bool
    teacher_forcing: TeacherForcingParams
    encoder: ConformerParams
    decoder: ConformerParams
    duration: PredictorParams
    pitch: PredictorParams
    energy: PredictorParams
    prosody_embedding: ProsodyEmbeddingParams
    postnet: PostnetParams
    loss: AcousticLossParams
    training: AcousticTraining
    init: InitParams


class GriffinLimParams(Section):
    iterations: Positive
    f0_iterations: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]


class HiFiGANParams(Section):
    """The generator of HiFi-GAN; see `koe.vocoder.hifigan`."""

    upsample_rates: list[Positive]
    upsample_kernels: list[Positive]
    upsample_channels: Positive
    resblock: Literal["1", "2"]
    resblock_kernels: list[Positive]
    resblock_dilations: list[list[Positive]]


class HarmonicNoiseParams(Section):
    """Pulses and noise, shaped in frequency by a network; see `koe.vocoder.harmonic_noise`."""

    layers: Positive
    hidden: Positive
    feed_forward: Positive
    kernel: Positive
    n_fft: Positive
    filters_per_frame: Positive
    corrections: Annotated[int, Field(ge=0)]


class DiscriminatorParams(Section):
    """Discriminators of waveforms: HiFi-GAN's by periods and by scales, and of spectrograms by their FFT sizes."""

    periods: list[Positive]
    period_channels: Positive
    scales: Annotated[int, Field(ge=0)]
    scale_channels: Positive
    spectra: list[Positive]
    spectrum_channels: Positive


class VocoderLossWeights(Section):
    mel: Weight
    stft: Weight
    feature_matching: Weight
    adversarial: Weight


class VocoderLossParams(Section):
    weights: VocoderLossWeights
    stft_sizes: list[Positive]


class GradientPenaltyParams(Section):
    """R1 (Mescheder et al. 2018): weight 0 is none; else at every so many steps of the discriminators."""

    weight: Weight
    every: Positive


class VocoderValidation(Section):
    utterances: Positive
    mos: bool
    pesq: bool
    players: Annotated[int, Field(ge=0)]


class BlurParams(Section):
    """Mels of recordings, made as smooth as an acoustic model's; largest deviations of a Gaussian."""

    share: Share
    frames: Annotated[float, Field(gt=0)]
    bands: Annotated[float, Field(gt=0)]


class VocoderTraining(Section):
    steps: Positive
    spectral_steps: Annotated[int, Field(ge=0)]
    batch_size: Positive
    segment_size: Positive
    true_mels: Share
    blur: BlurParams
    optimizer: OptimizerParams
    schedule: ScheduleParams
    gradient_clip: Annotated[float, Field(gt=0)] | None
    r1: GradientPenaltyParams
    ema: Annotated[float, Field(ge=0, lt=1)] | None
    precision: Literal["auto", "float32", "bfloat16"]
    log_every: Positive
    validate_every: Positive
    validation: VocoderValidation
    checkpoint_every: Positive
    keep_every: Positive | None
    keep_best: bool


class VocoderInit(Section):
    """What a vocoder's training starts from (lessons 11 and 14); without `from` the rest has no effect."""

    model_config = ConfigDict(serialize_by_alias=True)

    origin: str | None = Field(alias="from")
    generator: Literal["keep", "reset"]
    discriminators: Literal["keep", "reset"]
    optimizer: Literal["keep", "reset"]
    lr_scale: Annotated[float, Field(gt=0)]
    strict: bool


class VocoderParams(Section):
    model: Literal["harmonic_noise", "hifigan"]
    harmonic_noise: HarmonicNoiseParams
    hifigan: HiFiGANParams
    discriminators: DiscriminatorParams
    loss: VocoderLossParams
    training: VocoderTraining
    init: VocoderInit


class EvaluationParams(Section):
    headline: Literal["trained", "griffin_lim"]
    pairs: Positive
    pairs_per_direction: Positive | None
    mcd_order: Positive
    mcd_silence_db: Decibels
    wer: bool
    mos: bool
    speaker: bool


class ReportParams(Section):
    utterances: Positive
    alignments: Annotated[int, Field(ge=0)]
    trims: Annotated[int, Field(ge=0)]


class Params(Section):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    corpora: Annotated[dict[str, CorpusParams], Field(min_length=1)]
    mel: MelParams
    resample: ResampleParams
    trim: TrimParams
    pitch: PitchParams
    pair: PairParams
    stats: StatsParams
    align: AlignParams
    acoustic: AcousticParams
    griffin_lim: GriffinLimParams
    vocoder: VocoderParams
    evaluation: EvaluationParams
    report: ReportParams

    @property
    def speaker_pitch(self) -> SpeakerPitch:
        return SpeakerPitch.of(self.pitch, self.corpora)


def load_params(path: str | Path = "params.yaml") -> Params:
    """Reads and checks a parameter file. Raises ParameterError listing everything that is wrong with it."""
    return check_params(read_values(path), str(path))


def read_values(path: str | Path = "params.yaml") -> Any:
    """A parameter file as a plain tree. Raises ParameterError if it is not there or not YAML."""
    path = Path(path)
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParameterError(f"{path} does not exist; run from the project's root") from None
    except yaml.YAMLError as error:
        raise ParameterError(f"{path} is not valid YAML: {error}") from error


def check_params(values: Any, where: str = "params.yaml") -> Params:
    """Types and cross-checks a parameter tree. Raises ParameterError listing everything that is wrong with it."""
    try:
        params = Params.model_validate(values)
    except ValidationError as error:
        raise ParameterError(_listed(where, (_explain(entry) for entry in error.errors()))) from None
    if found := list(contradictions(params)):
        raise ParameterError(_listed(where, found))
    return params


def _listed(where: str, messages: Any) -> str:
    return f"{where}:\n" + "\n".join(f"  {message}" for message in messages)


def _explain(entry: Any) -> str:
    name = ".".join(str(part) for part in entry["loc"])
    if entry["type"] == "extra_forbidden":
        return f"{name}: no such parameter; here these exist: {', '.join(_siblings(entry['loc']))}"
    if entry["type"] == "missing":
        return f"{name}: missing"
    return f"{name}: {entry['msg'][0].lower()}{entry['msg'][1:]} (it is {entry['input']!r})"


def _siblings(location: tuple[Any, ...]) -> list[str]:
    """Names that are valid where an unknown one was found."""
    section: Any = Params
    for part in location[:-1]:
        fields = section.model_fields if isinstance(section, type) and issubclass(section, BaseModel) else {}
        section = fields[part].annotation if part in fields else CorpusParams
    fields = section.model_fields if isinstance(section, type) and issubclass(section, BaseModel) else {}
    return sorted(fields)
