"""Parameters of vocoders."""

import math
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from koe.audio.params import MelParams
from koe.params.section import Choice, Section
from koe.params.types import FftSize, OddKernel, Positive, Share, Weight
from koe.training.params import OptimizerParams, ScheduleParams, names_checkpoint, warmup_contradictions

_FEW = Field(max_length=32)  # layers; a config of a million would take minutes to refuse


class GriffinLimParams(Section):
    """Griffin-Lim; see `koe.vocoder.griffin_lim`."""

    label: ClassVar[str] = "Griffin-Lim"

    iterations: Positive
    f0_iterations: Positive
    momentum: Annotated[float, Field(ge=0, lt=1)]


# Used where there is no params.yaml; a test compares the two. No defaults: what a file leaves out is an error.
GRIFFIN_LIM = GriffinLimParams(iterations=60, f0_iterations=2, momentum=0.99)


class NetworkParams(Section):
    """Sizes of a trained vocoder's network (`koe.vocoder.network`): a section of `VocoderParams`, by its name."""

    label: ClassVar[str]  # name of the vocoder on pages
    linear_layers: ClassVar[bool] = True  # that the optimizer muon can train

    def mel_contradictions(self, mel_params: MelParams, name: str) -> Iterator[str]:
        """Contradictions between these sizes and the mel; `name`: of the section, as in `contradictions`."""
        yield from ()


class HiFiGANParams(NetworkParams):
    """The generator of HiFi-GAN; see `koe.vocoder.hifigan`."""

    label: ClassVar[str] = "HiFi-GAN"
    linear_layers: ClassVar[bool] = False  # convolutions alone

    upsample_rates: Annotated[list[Positive], _FEW]
    upsample_kernels: Annotated[list[Positive], _FEW]
    upsample_channels: Positive
    resblock: Literal["1", "2"]
    resblock_kernels: Annotated[list[OddKernel], _FEW]
    resblock_dilations: Annotated[list[Annotated[list[Positive], _FEW]], _FEW]

    def contradictions(self, name: str) -> Iterator[str]:
        rates, kernels = self.upsample_rates, self.upsample_kernels
        if len(kernels) != len(rates):
            yield f"{name}.upsample_kernels: {len(kernels)} kernels for {len(rates)} upsample_rates; one each"
        for rate, kernel in zip(rates, kernels, strict=False):
            if rate == 1:
                yield f"{name}.upsample_rates: 1 upsamples nothing; leave it out, with its kernel"
            elif kernel < rate:
                yield f"{name}.upsample_kernels: {kernel} for rate {rate}; expected at least the rate, e.g. {2 * rate}"
        if self.upsample_channels % 2 ** len(rates):
            yield f"{name}.upsample_channels: {self.upsample_channels} cannot be halved {len(rates)} times"
        if len(self.resblock_kernels) != len(self.resblock_dilations):
            yield f"{name}.resblock_dilations: one list for each of {name}.resblock_kernels"
        if not self.resblock_kernels:
            yield f"{name}.resblock_kernels: none; name at least one, e.g. [3, 7, 11]"
        if not all(self.resblock_dilations):
            yield f"{name}.resblock_dilations: {self.resblock_dilations}; no list may be empty, e.g. [1, 3, 5]"

    def mel_contradictions(self, mel_params: MelParams, name: str) -> Iterator[str]:
        product = math.prod(self.upsample_rates)
        if product != mel_params.hop_length:
            proposals = " or ".join(str(rates) for rates in factorisations(mel_params.hop_length))
            yield (f"{name}.upsample_rates: {self.upsample_rates} multiply to {product}, but mel.hop_length is "
                   f"{mel_params.hop_length}; e.g. {proposals}")


class HarmonicNoiseParams(NetworkParams):
    """Pulses and noise, shaped in frequency by a network; see `koe.vocoder.harmonic_noise`."""

    label: ClassVar[str] = "harmonic + noise"

    layers: Positive
    hidden: Positive
    feed_forward: Positive
    kernel: OddKernel
    n_fft: FftSize
    filters_per_frame: Positive
    corrections: Annotated[int, Field(ge=0)]

    def mel_contradictions(self, mel_params: MelParams, name: str) -> Iterator[str]:
        count = self.filters_per_frame
        step = mel_params.hop_length // count
        if mel_params.hop_length % count:
            near = max(divisor for divisor in range(1, count) if mel_params.hop_length % divisor == 0)
            yield (f"{name}.filters_per_frame: mel.hop_length ({mel_params.hop_length}) over {count} is not a "
                   f"whole number; e.g. {near}")
        elif self.n_fft < 2 * step or (self.n_fft - step) % 2:
            yield (f"{name}.n_fft: {self.n_fft}; filters that change every {step} samples (mel.hop_length over "
                   f"filters_per_frame) need at least twice as many, of the same parity, e.g. {4 * step - step % 2}")


class DiscriminatorParams(Section):
    """Discriminators of waveforms: HiFi-GAN's by periods and by scales, and of spectrograms by their FFT sizes."""

    periods: Annotated[list[Positive], _FEW]
    period_channels: Positive
    scales: Annotated[int, Field(ge=0)]
    scale_channels: Positive
    spectra: Annotated[list[FftSize], _FEW]
    spectrum_channels: Positive

    def contradictions(self, name: str) -> Iterator[str]:
        if len(set(self.periods)) != len(self.periods):
            yield f"{name}.periods: {self.periods}; each once"


class VocoderLossWeights(Section):
    mel: Weight
    stft: Weight
    feature_matching: Weight
    adversarial: Weight


class VocoderLossParams(Section):
    weights: VocoderLossWeights
    stft_sizes: list[FftSize]

    def contradictions(self, name: str) -> Iterator[str]:
        if not self.stft_sizes:
            yield f"{name}.stft_sizes: none, and validation measures by them whatever their weight; name some"
        if not self.weights.mel and not self.weights.stft:
            yield f"{name}.weights.mel, {name}.weights.stft: both are 0; one must tie the output to the recording"


class GradientPenaltyParams(Section):
    """R1 (Mescheder et al. 2018), the gradient penalty of the discriminators."""

    weight: Weight  # 0: no penalty
    every: Positive  # steps of the discriminators


class VocoderValidation(Section):
    utterances: Positive
    mos: bool
    pesq: bool
    players: Annotated[int, Field(ge=0)]


class BlurParams(Section):
    """Blurring, which makes mels of recordings as smooth as an acoustic model's."""

    share: Share  # of the recordings' mels
    frames: Annotated[float, Field(gt=0)]  # largest standard deviation of the Gaussian over time
    bands: Annotated[float, Field(gt=0)]  # and over mel bands


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

    def contradictions(self, name: str) -> Iterator[str]:
        if self.blur.share and not self.true_mels:
            yield (f"{name}.blur.share: {self.blur.share:g} of the recordings' own mels, and {name}.true_mels is 0: "
                   "there are none; set the share to 0, or true_mels above 0")
        if self.schedule.name == "noam_per_step":
            yield (f"{name}.schedule.name: noam_per_step goes by the width of a Transformer; use cosine_per_step, "
                   "exponential_per_epoch (published), exponential_per_step or constant")
        if self.validation.players > self.validation.utterances:
            yield (f"{name}.validation.players: {self.validation.players} is more than "
                   f"{name}.validation.utterances ({self.validation.utterances})")


class VocoderInit(Section):
    """Start of a vocoder's training run (lessons 11 and 14); without `from` the rest has no effect."""

    origin: str | None = Field(alias="from")
    generator: Literal["keep", "reset"]
    discriminators: Literal["keep", "reset"]
    optimizer: Literal["keep", "reset"]
    lr_scale: Annotated[float, Field(gt=0)]
    strict: bool

    def contradictions(self, name: str) -> Iterator[str]:
        if self.origin is None or self.optimizer == "reset":
            return
        for part in ("generator", "discriminators"):
            if getattr(self, part) == "reset":
                yield f"{name}.optimizer: an optimizer's state belongs to its weights; set {name}.{part}: keep"
        if not self.strict:
            yield f"{name}.optimizer: an optimizer's state belongs to all of its weights; set {name}.strict: true"
        if not names_checkpoint(self.origin):
            yield (f"{name}.optimizer: its state is in kept checkpoints alone; set "
                   f"{name}.from: {self.origin}@<step> or {self.origin}@best")


NetworkName = Literal["harmonic_noise", "hifigan"]


class VocoderParams(Choice):
    """`model` chooses the network, sized by the part of its name; the rest is how any of them is trained."""

    PARTS = get_args(NetworkName)

    model: NetworkName
    harmonic_noise: HarmonicNoiseParams | None = None
    hifigan: HiFiGANParams | None = None
    discriminators: DiscriminatorParams
    loss: VocoderLossParams
    training: VocoderTraining
    init: VocoderInit

    @property
    def network(self) -> NetworkParams:
        """The sizes of the network that `model` names."""
        return self.part(NetworkParams)

    def contradictions(self, name: str) -> Iterator[str]:
        training = self.training
        if training.optimizer.name == "muon" and not self.network.linear_layers:
            yield (f"{name}.training.optimizer.name: muon is for linear layers, and {self.model} has convolutions "
                   "alone; adamw")
        yield from self._discriminator_contradictions(name)
        yield from warmup_contradictions(training.schedule, training.steps, f"{name}.training")

    def _discriminator_contradictions(self, name: str) -> Iterator[str]:
        """Contradictions between the losses, the discriminators and the length of a segment."""
        weights, discriminators, segment = self.loss.weights, self.discriminators, self.training.segment_size
        sizes = {f"{name}.loss.stft_sizes": self.loss.stft_sizes,
                 f"{name}.discriminators.spectra": discriminators.spectra}
        for parameter, fft_sizes in sizes.items():
            for size in fft_sizes:
                if size % 4:
                    yield (f"{parameter}: a quarter of {size} is the hop, and not a whole number; e.g. "
                           f"{max(4, size // 4 * 4)}")
                if size > segment:
                    yield f"{parameter}: {size} is longer than {name}.training.segment_size ({segment})"
        for period in discriminators.periods:
            if period >= segment:
                yield (f"{name}.discriminators.periods: {period} is not below {name}.training.segment_size "
                       f"({segment})")
        trained = weights.adversarial or weights.feature_matching
        present = discriminators.periods or discriminators.scales or discriminators.spectra
        if trained and not present:
            yield (f"{name}.discriminators: periods, scales and spectra are all empty, and {name}.loss.weights."
                   "adversarial or feature_matching is not 0; name some discriminators, or set both to 0")
        penalty = self.training.r1.weight
        if penalty and not (trained and present):
            yield (f"{name}.training.r1.weight: {penalty:g} is a penalty on discriminators, and none are trained "
                   f"({name}.discriminators, {name}.loss.weights.adversarial and feature_matching); set it to 0")


def vocoder_label(name: str) -> str:
    """Name of a vocoder on pages; that of the parameters for one that this version does not know."""
    kinds = {"griffin_lim": GriffinLimParams, **VocoderParams.kinds()}
    return str(getattr(kinds.get(name), "label", name))


def vocoder_contradictions(vocoder: VocoderParams, mel_params: MelParams) -> Iterator[str]:
    """Contradictions between a vocoder and the mel that it takes."""
    yield from vocoder.network.mel_contradictions(mel_params, f"vocoder.{vocoder.model}")
    training = vocoder.training
    if training.segment_size % mel_params.hop_length:
        near = max(1, round(training.segment_size / mel_params.hop_length)) * mel_params.hop_length
        yield (f"vocoder.training.segment_size: {training.segment_size} is not a multiple of mel.hop_length "
               f"({mel_params.hop_length}); e.g. {near} or {32 * mel_params.hop_length}")
    if training.segment_size < mel_params.n_fft:
        yield f"vocoder.training.segment_size: {training.segment_size} is shorter than mel.n_fft ({mel_params.n_fft})"


def factorisations(hop_length: int, count: int = 2) -> list[list[int]]:
    """Upsampling rates that multiply to `hop_length`, largest first, at most four layers where that is possible."""
    primes, rest, divisor = [], hop_length, 2
    while rest > 1:
        while rest % divisor == 0:
            primes.append(divisor)
            rest //= divisor
        divisor += 1
    rate_lists: list[list[int]] = []
    for layers in (4, 3, 5):
        rates = [1] * layers
        for prime in sorted(primes, reverse=True):
            smallest = rates.index(min(rates))
            rates[smallest] *= prime
        candidate = sorted((rate for rate in rates if rate > 1), reverse=True)
        if candidate and candidate not in rate_lists:
            rate_lists.append(candidate)
    return rate_lists[:count]
