"""What the values of params.yaml must not say together: each check names the parameters and what would be valid.

`koe.params.check_params` asks for all of them at once, before any stage works.
"""

import math
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # which imports this module
    from koe.params import (
        AcousticParams,
        AcousticTraining,
        AlignParams,
        AttentionAlignParams,
        ConformerParams,
        CorpusParams,
        HarmonicNoiseParams,
        HiFiGANParams,
        LearnedAlignParams,
        MelParams,
        OptimizerParams,
        Params,
        ScheduleParams,
        VocoderInit,
        VocoderParams,
    )

ON_DISK = frozenset(
    {"folders", "table", "jsut", "jsss", "jvs", "ljspeech", "vctk", "libritts", "cmu_arctic", "asterisk"})
# Parameters that only some importers have; all others are every importer's.
IMPORTER_OPTIONS: dict[str, frozenset[str]] = {
    "subsets": frozenset({"jsut", "jsss", "jvs", "libritts"}),
    "microphone": frozenset({"vctk"}),
    "match": ON_DISK,
    "segments": ON_DISK,
}


def contradictions(params: "Params") -> Iterator[str]:
    """A sentence for each contradiction, beginning with the parameters' names."""
    yield from mel_contradictions(params.mel)
    yield from _data_contradictions(params)
    yield from _align_contradictions(params.align)
    for name, corpus in params.corpora.items():
        yield from _corpus_contradictions(name, corpus)
    yield from _pair_contradictions(params)
    yield from _acoustic_contradictions(params.acoustic)
    yield from _vocoder_contradictions(params.vocoder, params.mel)


def mel_contradictions(mel: "MelParams") -> Iterator[str]:
    if mel.fmax > mel.sample_rate / 2:
        yield (f"mel.fmax: {mel.fmax:g} Hz is above half of mel.sample_rate ({mel.sample_rate}); "
               f"at most {mel.sample_rate / 2:g}")
    if mel.fmin >= mel.fmax:
        yield f"mel.fmin: {mel.fmin:g} Hz is not below mel.fmax ({mel.fmax:g})"
    if mel.win_length > mel.n_fft:
        yield f"mel.win_length: {mel.win_length} is longer than mel.n_fft ({mel.n_fft})"
    if mel.hop_length > mel.win_length:
        yield f"mel.hop_length: {mel.hop_length} is longer than mel.win_length ({mel.win_length}): samples are skipped"
    if (mel.n_fft - mel.hop_length) % 2:
        yield (f"mel.n_fft, mel.hop_length: n_fft - hop_length ({mel.n_fft - mel.hop_length}) must be even, "
               "for half of it is padded at each end")
    if mel.n_mels > mel.n_fft // 2:
        yield f"mel.n_mels: {mel.n_mels} bands from {mel.n_fft // 2 + 1} frequency bins; lower it or raise mel.n_fft"


def _data_contradictions(params: "Params") -> Iterator[str]:
    mel, pitch, resample = params.mel, params.pitch, params.resample
    ranges = {"pitch.floor, pitch.ceiling": (pitch.floor, pitch.ceiling)}
    ranges |= {f"corpora.{name}.pitch_ranges.{speaker}": limits for name, corpus in params.corpora.items()
               for speaker, limits in corpus.pitch_ranges.items()}
    for name, (floor, ceiling) in ranges.items():
        if not 20 <= floor < ceiling <= mel.sample_rate / 4:
            yield (f"{name}: {floor:g} to {ceiling:g} Hz; expected 20 ≤ floor < ceiling ≤ "
                   f"a quarter of mel.sample_rate ({mel.sample_rate / 4:g})")
    if resample.min_seconds >= resample.max_seconds:
        yield (f"resample.min_seconds: {resample.min_seconds:g} is not below resample.max_seconds "
               f"({resample.max_seconds:g})")
    step = params.acoustic.reduction.factor * mel.hop_length / mel.sample_rate
    if resample.min_seconds < step:
        yield (f"resample.min_seconds: {resample.min_seconds:g} s is shorter than one reduced step "
               f"(acoustic.reduction.factor × mel.hop_length = {step:.3f} s); at least {step:.3f}")
    align = params.align
    if align.features == "mel" and align.bands > mel.n_mels:
        yield f"align.bands: {align.bands} bands from mel.n_mels = {mel.n_mels}; at most {mel.n_mels}"
    if align.features == "mcep" and align.order >= mel.n_mels:
        yield f"align.order: {align.order} cepstra from mel.n_mels = {mel.n_mels} bands; at most {mel.n_mels - 1}"


def _align_contradictions(align: "AlignParams") -> Iterator[str]:
    if align.compare == align.method:
        yield f"align.compare: {align.compare} is align.method too; another method, or null"
    for name in ("attention", "learned"):
        section: AttentionAlignParams | LearnedAlignParams = getattr(align, name)
        if section.kernel % 2 == 0:
            yield (f"align.{name}.kernel: {section.kernel} is even; steps stay in place with an odd one, e.g. "
                   f"{section.kernel + 1}")
        if section.training.warmup_steps >= section.training.steps:
            yield (f"align.{name}.training.warmup_steps: {section.training.warmup_steps} is not below "
                   f"align.{name}.training.steps ({section.training.steps})")


def _corpus_contradictions(name: str, corpus: "CorpusParams") -> Iterator[str]:
    if not name.replace("-", "").replace("_", "").isalnum():
        yield f"corpora.{name}: a corpus names folders; use letters, digits, - and _"
    if corpus.source is not None and corpus.source == corpus.target:
        yield f"corpora.{name}.target: {corpus.target!r} is the source too"
    for role in ("source", "target"):
        speaker = getattr(corpus, role)
        if speaker is not None and corpus.speakers is not None and speaker not in corpus.speakers:
            yield f"corpora.{name}.{role}: {speaker!r} is not among corpora.{name}.speakers ({corpus.speakers})"
    for option, importers in IMPORTER_OPTIONS.items():
        if getattr(corpus, option) is not None and corpus.importer not in importers:
            yield (f"corpora.{name}.{option}: importer {corpus.importer} does not have it, only "
                   f"{', '.join(sorted(importers))}; leave it out")
    if corpus.importer == "demo" and corpus.language not in (None, "en", "ja"):
        yield f"corpora.{name}.language: the demo's sentences are en or ja, not {corpus.language}"
    if corpus.match == "table" and corpus.importer != "folders":
        yield f"corpora.{name}.match: table is for importer folders"
    cut = corpus.segments
    if cut is not None and not cut.min_seconds * 2 <= cut.max_seconds <= cut.longer_than:
        yield (f"corpora.{name}.segments: min_seconds {cut.min_seconds:g}, max_seconds {cut.max_seconds:g}, "
               f"longer_than {cut.longer_than:g}; expected 2 × min_seconds ≤ max_seconds ≤ longer_than")


def _pair_contradictions(params: "Params") -> Iterator[str]:
    pair = params.pair
    low, high = pair.duration_ratio
    if not 0 < low < 1 < high:
        yield f"pair.duration_ratio: [{low:g}, {high:g}]; expected 0 < low < 1 < high"
    if (pair.rule == "sampled") != (pair.targets_per_source is not None):
        yield ("pair.targets_per_source: a number goes with pair.rule: sampled, null with the others (rule is "
               f"{pair.rule}, targets_per_source {pair.targets_per_source})")
    yield from _role_contradictions(params)
    if (pair.rule == "chosen") != bool(pair.chosen):
        yield ("pair.chosen: a list of [source, target] goes with pair.rule: chosen, an empty one with the others "
               f"(rule is {pair.rule})")
    for source, target in pair.chosen:
        if source == target:
            yield f"pair.chosen: {source!r} to itself"
    shares = [share for share in (pair.train, pair.validation, pair.test) if isinstance(share, float)]
    if sum(shares) > 1 + 1e-9:
        yield f"pair.train, pair.validation, pair.test: shares of the sentences, together {sum(shares):g}; at most 1"
    if shared := sorted(set(pair.validation_speakers) & set(pair.test_speakers)):
        yield f"pair.validation_speakers, pair.test_speakers: {', '.join(shared)} cannot be held out for both"
    if params.acoustic.conditioning.by == "learned" and (pair.validation_speakers or pair.test_speakers):
        yield ("pair.validation_speakers, pair.test_speakers, acoustic.conditioning.by: a vector that is learned says "
               "nothing of speakers who are held out; use encoder")
    if params.acoustic.conditioning.by == "none" and (several := _several_directions(params)):
        yield (f"{several}, acoustic.conditioning.by: several speakers or directions are mixed and the model is not "
               "told who speaks, so it cannot learn any of them (lesson 22); use acoustic.conditioning.by: learned or "
               "encoder, or pair.rule: one_way with one source and one target")


def _role_contradictions(params: "Params") -> Iterator[str]:
    """Rules that go by roles need a source and a target that can meet."""
    if params.pair.rule not in ("one_way", "both"):
        return
    sources, targets = _corpora_with(params, "source"), _corpora_with(params, "target")
    if not (sources and targets if params.pair.across_corpora else sources & targets):
        where = "some corpora" if params.pair.across_corpora else "a corpus"
        yield (f"pair.rule: {params.pair.rule} converts corpora.<name>.source to corpora.<name>.target, and no corpus "
               f"has {'them' if not (sources or targets) else 'both'}; name the two speakers in {where}, or use rule "
               "all, sampled or chosen")


def _corpora_with(params: "Params", role: str) -> set[str]:
    """Corpora that have a speaker of this role; the demo has both without being told."""
    return {name for name, corpus in params.corpora.items()
            if getattr(corpus, role) is not None or corpus.importer == "demo"}


def _several_directions(params: "Params") -> str:
    """The parameters by which more than one source or target speaker meets one model; empty if none do.

    What only the data shows is checked again where pairs are read: `koe.corpus.pairing.require_conditioning`.
    """
    pair = params.pair
    if pair.rule in ("both", "all", "sampled"):
        return "pair.rule"
    if len(set(pair.chosen)) > 1:
        return "pair.chosen"
    sources, targets = _corpora_with(params, "source"), _corpora_with(params, "target")
    directions = len(sources) * len(targets) if pair.across_corpora else len(sources & targets)
    return "corpora.*.source, corpora.*.target" if pair.rule == "one_way" and directions > 1 else ""


def _acoustic_contradictions(acoustic: "AcousticParams") -> Iterator[str]:
    for name in ("encoder", "decoder"):
        conformer: ConformerParams = getattr(acoustic, name)
        if conformer.attention % conformer.heads or (conformer.attention // conformer.heads) % 2:
            yield (f"acoustic.{name}.heads: acoustic.{name}.attention ({conformer.attention}) over {conformer.heads} "
                   "heads must be an even whole number")
        if conformer.positions == "absolute" and conformer.hidden % 2:
            yield f"acoustic.{name}.hidden: {conformer.hidden} is odd; sines and cosines come in pairs"
    for name in ("encoder", "decoder", "duration", "pitch", "energy", "prosody_embedding", "postnet"):
        kernel = getattr(acoustic, name).kernel
        if kernel % 2 == 0:
            yield f"acoustic.{name}.kernel: {kernel} is even; frames stay in place with an odd one, e.g. {kernel + 1}"
    if acoustic.conditioning.level == "utterance" and acoustic.conditioning.by != "encoder":
        yield (f"acoustic.conditioning.level: utterance goes with by: encoder; with by: {acoustic.conditioning.by} "
               "there is nothing of an utterance to tell")
    reduction = acoustic.reduction
    larger, smaller = sorted((reduction.factor, reduction.frames_a_value), reverse=True)
    if larger % smaller:
        yield (f"acoustic.reduction.prosody_factor: {reduction.prosody_factor} is neither a multiple nor a divisor of "
               f"acoustic.reduction.factor ({reduction.factor})")
    if reduction.by == "reshape" and reduction.loss == "steps":
        yield "acoustic.reduction.loss: steps goes with by: mean or slice; reshape keeps every frame, so frames"
    forcing = acoustic.teacher_forcing
    if forcing.until_step < forcing.from_step:
        yield (f"acoustic.teacher_forcing.until_step: {forcing.until_step} is before "
               f"acoustic.teacher_forcing.from_step ({forcing.from_step})")
    if not any(acoustic.loss.mel.model_dump().values()):
        yield "acoustic.loss.mel: all weights are 0; at least one distance must count"
    norms = {"encoder": acoustic.encoder.norm, "decoder": acoustic.decoder.norm, "postnet": acoustic.postnet.norm}
    if "batch" in norms.values() and acoustic.training.replicas > 1:
        yield (f"acoustic.training.replicas: {acoustic.training.replicas} parts of a batch side by side, and batch "
               f"norms ({', '.join(name for name, norm in norms.items() if norm == 'batch')}) want it whole; set it to "
               "1, or norm to layer")
    yield from _training_contradictions(acoustic.training, acoustic.init.keep_schedule)
    init = acoustic.init
    if init.origin is None:
        if init.freeze:
            yield ("acoustic.init.freeze: without acoustic.init.from weights are random, and would stay so; name a "
                   "model to start from")
        return
    if init.keep_optimizer and not init.strict:
        yield ("acoustic.init.keep_optimizer: an optimizer goes with all of its weights, so with "
               "acoustic.init.strict: true")
    for name in ("keep_optimizer", "keep_schedule"):
        if getattr(init, name) and not re.search(r"@(\d+|best)$", init.origin):
            yield (f"acoustic.init.{name}: what a training goes on with is in kept checkpoints alone; "
                   f"acoustic.init.from: {init.origin}@<step> or {init.origin}@best")


def _training_contradictions(training: "AcousticTraining", continued: bool) -> Iterator[str]:
    name = "acoustic.training"
    for one, other in (("steps", "epochs"), ("batch_size", "batch_frames")):
        if (getattr(training, one) is None) == (getattr(training, other) is None):
            yield f"{name}.{one}, {name}.{other}: one of them says, the other is null"
    yield from _optimizer_contradictions(f"{name}.optimizer", training.optimizer)
    steps = None if continued else training.steps
    yield from _schedule_contradictions(name, training.schedule, steps)


def _optimizer_contradictions(name: str, optimizer: "OptimizerParams") -> Iterator[str]:
    if optimizer.name == "adam" and optimizer.weight_decay:
        yield f"{name}.weight_decay: {optimizer.weight_decay:g} with adam; decoupled decay is adamw's, so 0"
    if not all(0 <= beta < 1 for beta in optimizer.betas):
        yield f"{name}.betas: {list(optimizer.betas)}; both at least 0 and below 1"


def _schedule_contradictions(training: str, schedule: "ScheduleParams", steps: int | None) -> Iterator[str]:
    name = f"{training}.schedule"
    if steps is not None and schedule.warmup_steps >= steps:
        yield f"{name}.warmup_steps: {schedule.warmup_steps} is not below {training}.steps ({steps})"
    if schedule.name == "noam_per_step" and schedule.warmup_steps == 0:
        yield f"{name}.warmup_steps: 0; noam_per_step rises over at least 1"
    if schedule.name == "cosine_per_step" and schedule.final_learning_rate > schedule.learning_rate:
        yield f"{name}.final_learning_rate: above {name}.learning_rate, which is the peak"
    if schedule.anneal_steps != sorted(set(schedule.anneal_steps)):
        yield f"{name}.anneal_steps: {schedule.anneal_steps}; each once, rising"


def _vocoder_contradictions(vocoder: "VocoderParams", mel: "MelParams") -> Iterator[str]:
    if vocoder.model == "hifigan":
        yield from hifigan_contradictions(vocoder.hifigan, mel)
        if vocoder.training.optimizer.name == "muon":
            yield ("vocoder.training.optimizer.name: muon is for linear layers, and hifigan has convolutions alone; "
                   "adamw")
    else:
        yield from _harmonic_noise_contradictions(vocoder.harmonic_noise, mel)
    training = vocoder.training
    if training.segment_size % mel.hop_length:
        near = max(1, round(training.segment_size / mel.hop_length)) * mel.hop_length
        yield (f"vocoder.training.segment_size: {training.segment_size} is not a multiple of mel.hop_length "
               f"({mel.hop_length}); e.g. {near} or {32 * mel.hop_length}")
    if training.segment_size < mel.n_fft:
        yield f"vocoder.training.segment_size: {training.segment_size} is shorter than mel.n_fft ({mel.n_fft})"
    if training.blur.share and not training.true_mels:
        yield (f"vocoder.training.blur.share: {training.blur.share:g} of the recordings' own mels, and "
               "vocoder.training.true_mels is 0: there are none; set the share to 0, or true_mels above 0")
    yield from _judging_contradictions(vocoder)
    yield from _optimizer_contradictions("vocoder.training.optimizer", training.optimizer)
    yield from _schedule_contradictions("vocoder.training", training.schedule, training.steps)
    if training.schedule.name == "noam_per_step":
        yield ("vocoder.training.schedule.name: noam_per_step goes by the width of a Transformer; use cosine_per_step, "
               "exponential_per_epoch (published), exponential_per_step or constant")
    if training.validation.players > training.validation.utterances:
        yield (f"vocoder.training.validation.players: {training.validation.players} of "
               f"vocoder.training.validation.utterances ({training.validation.utterances}) can be heard; at most all")
    yield from _vocoder_init_contradictions(vocoder.init)


def _harmonic_noise_contradictions(network: "HarmonicNoiseParams", mel: "MelParams") -> Iterator[str]:
    name, count = "vocoder.harmonic_noise", network.filters_per_frame
    if network.kernel % 2 == 0:
        yield (f"{name}.kernel: {network.kernel} is even; frames stay in place with an odd one, e.g. "
               f"{network.kernel + 1}")
    step = mel.hop_length // count
    if mel.hop_length % count:
        near = max(divisor for divisor in range(1, count) if mel.hop_length % divisor == 0)
        yield (f"{name}.filters_per_frame: mel.hop_length ({mel.hop_length}) over {count} is no whole number; e.g. "
               f"{near}")
    elif network.n_fft < 2 * step or (network.n_fft - step) % 2:
        yield (f"{name}.n_fft: {network.n_fft}; filters that change every {step} samples (mel.hop_length over "
               f"filters_per_frame) take at least twice as many, of the same parity, e.g. {4 * step - step % 2}")


def hifigan_contradictions(generator: "HiFiGANParams", mel: "MelParams") -> Iterator[str]:
    """Of the sizes of HiFi-GAN's generator, for these mels."""
    name = "vocoder.hifigan"
    product = math.prod(generator.upsample_rates)
    if product != mel.hop_length:
        proposals = " or ".join(str(rates) for rates in factorisations(mel.hop_length))
        yield (f"{name}.upsample_rates: {generator.upsample_rates} multiply to {product}, but mel.hop_length is "
               f"{mel.hop_length}; e.g. {proposals}")
    if len(generator.upsample_kernels) != len(generator.upsample_rates):
        yield (f"{name}.upsample_kernels: {len(generator.upsample_kernels)} kernels for "
               f"{len(generator.upsample_rates)} upsample_rates; one each")
    for rate, kernel in zip(generator.upsample_rates, generator.upsample_kernels, strict=False):
        if rate == 1:
            yield f"{name}.upsample_rates: 1 upsamples nothing; leave it out, with its kernel"
        elif kernel < rate:
            yield f"{name}.upsample_kernels: {kernel} for rate {rate}; expected at least the rate, e.g. {2 * rate}"
    if generator.upsample_channels % 2 ** len(generator.upsample_rates):
        yield (f"{name}.upsample_channels: {generator.upsample_channels} cannot be halved "
               f"{len(generator.upsample_rates)} times")
    if len(generator.resblock_kernels) != len(generator.resblock_dilations):
        yield f"{name}.resblock_dilations: one list for each of {name}.resblock_kernels"
    if not generator.resblock_kernels:
        yield f"{name}.resblock_kernels: none; name at least one, e.g. [3, 7, 11]"
    if not all(generator.resblock_dilations):
        yield f"{name}.resblock_dilations: {generator.resblock_dilations}; no list may be empty, e.g. [1, 3, 5]"
    for kernel in generator.resblock_kernels:
        if kernel % 2 == 0:
            yield f"{name}.resblock_kernels: {kernel} is even; samples stay in place with an odd one"


def _judging_contradictions(vocoder: "VocoderParams") -> Iterator[str]:
    """Of the losses and the discriminators, and of what they make of a segment."""
    weights, judges, segment = vocoder.loss.weights, vocoder.discriminators, vocoder.training.segment_size
    sizes = {"vocoder.loss.stft_sizes": vocoder.loss.stft_sizes, "vocoder.discriminators.spectra": judges.spectra}
    for name, fft_sizes in sizes.items():
        for size in fft_sizes:
            if size % 4:
                yield f"{name}: a quarter of {size} is the hop, and no whole number; e.g. {max(4, size // 4 * 4)}"
            if size > segment:
                yield f"{name}: {size} is longer than vocoder.training.segment_size ({segment})"
    if not vocoder.loss.stft_sizes:
        yield "vocoder.loss.stft_sizes: none, and validation measures by them whatever their weight; name some"
    for period in judges.periods:
        if period >= segment:
            yield f"vocoder.discriminators.periods: {period} is not below vocoder.training.segment_size ({segment})"
    if len(set(judges.periods)) != len(judges.periods):
        yield f"vocoder.discriminators.periods: {judges.periods}; each once"
    if not weights.mel and not weights.stft:
        yield "vocoder.loss.weights.mel, vocoder.loss.weights.stft: both are 0; one of them must say what to speak"
    if (weights.adversarial or weights.feature_matching) and not (judges.periods or judges.scales or judges.spectra):
        yield ("vocoder.discriminators: periods, scales and spectra are all none, and vocoder.loss.weights.adversarial "
               "or feature_matching is not 0; name some discriminators, or set both to 0")
    penalty = vocoder.training.r1.weight
    if penalty and not ((weights.adversarial or weights.feature_matching)
                        and (judges.periods or judges.scales or judges.spectra)):
        yield (f"vocoder.training.r1.weight: {penalty:g} is a penalty on discriminators, and none are trained "
               "(vocoder.discriminators, vocoder.loss.weights.adversarial and feature_matching); set it to 0")


def _vocoder_init_contradictions(init: "VocoderInit") -> Iterator[str]:
    if init.origin is None or init.optimizer == "reset":
        return
    for part in ("generator", "discriminators"):
        if getattr(init, part) == "reset":
            yield f"vocoder.init.optimizer: an optimizer goes with its weights, so with vocoder.init.{part}: keep"
    if not init.strict:
        yield "vocoder.init.optimizer: an optimizer goes with all of its weights, so with vocoder.init.strict: true"
    if not re.search(r"@(\d+|best)$", init.origin):
        yield ("vocoder.init.optimizer: what a training goes on with is in kept checkpoints alone; "
               f"vocoder.init.from: {init.origin}@<step> or {init.origin}@best")


def factorisations(hop_length: int, count: int = 2) -> list[list[int]]:
    """Upsampling rates that multiply to `hop_length`, largest first, at most four layers where that is possible."""
    primes, rest, divisor = [], hop_length, 2
    while rest > 1:
        while rest % divisor == 0:
            primes.append(divisor)
            rest //= divisor
        divisor += 1
    found: list[list[int]] = []
    for layers in (4, 3, 5):
        rates = [1] * layers
        for prime in sorted(primes, reverse=True):
            smallest = rates.index(min(rates))
            rates[smallest] *= prime
        candidate = sorted((rate for rate in rates if rate > 1), reverse=True)
        if candidate and candidate not in found:
            found.append(candidate)
    return found[:count]
