"""The schema of the conversion pipeline's params.yaml, and contradictions between its sections."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from koe.align.params import AlignParams, align_contradictions
from koe.audio.params import MelParams, PitchParams, ResampleParams, SpeakerPitch, TrimParams
from koe.corpus.importers.registry import IMPORTERS, importer_contradictions
from koe.corpus.params import Corpora, PairParams, StatsParams, pitch_contradictions, speaker_pitch
from koe.evaluation.params import EvaluationParams
from koe.params.reading import check, read_values
from koe.params.section import Section
from koe.report.params import ReportParams
from koe.tasks.conversion.params import AcousticParams
from koe.vocoder.params import GriffinLimParams, VocoderParams, vocoder_contradictions


class PairsParams(Section):
    """What the acoustic model's training needs: recordings, pairs and the model."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    corpora: Corpora
    mel: MelParams
    resample: ResampleParams
    trim: TrimParams
    pitch: PitchParams
    pair: PairParams
    stats: StatsParams
    align: AlignParams
    acoustic: AcousticParams

    @property
    def speaker_pitch(self) -> SpeakerPitch:
        return speaker_pitch(self.pitch, self.corpora)

    def contradictions(self, name: str) -> Iterator[str]:
        yield from importer_contradictions(self.corpora)
        yield from pitch_contradictions(self.pitch, self.corpora, self.mel)
        yield from align_contradictions(self.align, self.mel)
        step = self.acoustic.reduction.factor * self.mel.hop_length / self.mel.sample_rate
        if self.resample.min_seconds < step:
            yield (f"resample.min_seconds: {self.resample.min_seconds:g} s is shorter than one reduced step "
                   f"(acoustic.reduction.factor × mel.hop_length = {step:.3f} s); at least {step:.3f}")
        yield from _conditioning_contradictions(self)
        yield from _role_contradictions(self)


class Params(PairsParams):
    """All of params.yaml."""

    griffin_lim: GriffinLimParams
    vocoder: VocoderParams
    evaluation: EvaluationParams
    report: ReportParams

    def contradictions(self, name: str) -> Iterator[str]:
        yield from super().contradictions(name)
        yield from vocoder_contradictions(self.vocoder, self.mel)


def check_params(values: Any, where: str = "params.yaml") -> Params:
    """Types and cross-checks a parameter tree. Raises ParameterError listing everything that is wrong with it."""
    return check(Params, values, where)


def load_params(path: str | Path = "params.yaml") -> Params:
    """Reads and checks a parameter file. Raises ParameterError listing everything that is wrong with it."""
    return check_params(read_values(path), str(path))


def _conditioning_contradictions(params: PairsParams) -> Iterator[str]:
    """Directions of conversion that `acoustic.conditioning` does not allow (lesson 22)."""
    pair, by = params.pair, params.acoustic.conditioning.by
    if by == "learned" and (pair.validation_speakers or pair.test_speakers):
        yield ("pair.validation_speakers, pair.test_speakers, acoustic.conditioning.by: there are no learned vectors "
               "for held-out speakers; use encoder")
    if by == "none" and (several := _several_directions(params)):
        yield (f"{several}, acoustic.conditioning.by: several speakers or directions are mixed, and without the "
               "speakers as input the model cannot learn any of them (lesson 22); use acoustic.conditioning.by: "
               "learned or encoder, or pair.rule: one_way with one source and one target"
               f"{_corpora_to_choose(params)}")


def _corpora_to_choose(params: PairsParams) -> str:
    """Advice for the frequent case of one's own corpus beside the demo's."""
    both = sorted(_corpora_with(params, "source") & _corpora_with(params, "target"))
    if params.pair.rule != "one_way" or len(both) < 2:
        return ""
    return f". {' and '.join(f'corpora.{name}' for name in both)} each have both: leave one of them in params.yaml"


def _role_contradictions(params: PairsParams) -> Iterator[str]:
    """Rules that go by roles need a source and a target that can meet."""
    if params.pair.rule not in ("one_way", "both"):
        return
    if any(corpus.importer not in IMPORTERS for corpus in params.corpora.values()):
        return  # refused elsewhere; whether it has roles of its own, as the demo does, is not known
    sources, targets = _corpora_with(params, "source"), _corpora_with(params, "target")
    across = params.pair.across_corpora
    meet = bool(sources and targets) if across else bool(sources & targets)
    if not meet:
        yield (f"pair.rule: {params.pair.rule} converts corpora.<name>.source to corpora.<name>.target, and no corpus "
               f"has {'both' if sources or targets else 'them'}; name the two speakers in "
               f"{'some corpora' if across else 'a corpus'}, or use rule all, sampled or chosen")


def _corpora_with(params: PairsParams, role: str) -> set[str]:
    """Corpora that have a speaker of this role; the demo has both by default."""
    return {name for name, corpus in params.corpora.items()
            if getattr(corpus, role) is not None or corpus.importer == "demo"}


def _several_directions(params: PairsParams) -> str:
    """The parameters by which more than one source or target speaker meets one model; empty if none do.

    The pairs themselves are checked before training: `koe.tasks.conversion.speakers.require_conditioning`.
    """
    pair = params.pair
    if pair.rule in ("both", "all", "sampled"):
        return "pair.rule"
    if len(set(pair.chosen)) > 1:
        return "pair.chosen"
    sources, targets = _corpora_with(params, "source"), _corpora_with(params, "target")
    directions = len(sources) * len(targets) if pair.across_corpora else len(sources & targets)
    return "corpora.*.source, corpora.*.target" if pair.rule == "one_way" and directions > 1 else ""
