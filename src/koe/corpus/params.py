"""Parameters of corpora, of pairs of recordings and of statistics."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from koe.audio.params import MelParams, PitchParams, SpeakerPitch
from koe.names import LONGEST_FILE_NAME
from koe.params.section import Section
from koe.params.types import CountOrShare, Name, Positive


class SegmentParams(Section):
    """Cutting long recordings at pauses into pieces (lesson 9: an option, off unless a corpus asks for it)."""

    longer_than: Annotated[float, Field(gt=0)]
    min_seconds: Annotated[float, Field(gt=0)]
    max_seconds: Annotated[float, Field(gt=0)]
    min_pause_seconds: Annotated[float, Field(gt=0)]

    def contradictions(self, name: str) -> Iterator[str]:
        if not self.min_seconds * 2 <= self.max_seconds <= self.longer_than:
            yield (f"{name}: min_seconds {self.min_seconds:g}, max_seconds {self.max_seconds:g}, longer_than "
                   f"{self.longer_than:g}; expected 2 × min_seconds ≤ max_seconds ≤ longer_than")


class CorpusParams(Section):
    """One corpus. Parameters that its importer does not use must stay null (koe.corpus.importers.registry)."""

    importer: str  # a name of koe.corpus.importers.registry
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
    pitch_ranges: dict[Name, tuple[float, float]] = Field(default_factory=dict)
    segments: SegmentParams | None = None

    def contradictions(self, name: str) -> Iterator[str]:
        if self.source is not None and self.source == self.target:
            yield f"{name}.target: {self.target!r} is the source too"
        for role in ("source", "target"):
            speaker = getattr(self, role)
            if speaker is not None and self.speakers is not None and speaker not in self.speakers:
                yield f"{name}.{role}: {speaker!r} is not among {name}.speakers ({self.speakers})"


def _folder_name(name: str) -> str:
    if not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError("a corpus names folders; use letters, digits, - and _")
    if len(name.encode()) > LONGEST_FILE_NAME:
        raise ValueError(f"a corpus names folders, in at most {LONGEST_FILE_NAME} bytes")
    return name


Corpora = Annotated[dict[Annotated[str, AfterValidator(_folder_name)], CorpusParams], Field(min_length=1)]


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

    def contradictions(self, name: str) -> Iterator[str]:
        low, high = self.duration_ratio
        if not 0 < low < 1 < high:
            yield f"{name}.duration_ratio: [{low:g}, {high:g}]; expected 0 < low < 1 < high"
        if (self.rule == "sampled") != (self.targets_per_source is not None):
            yield (f"{name}.targets_per_source: a number goes with {name}.rule: sampled, null with the others (rule is "
                   f"{self.rule}, targets_per_source {self.targets_per_source})")
        if (self.rule == "chosen") != bool(self.chosen):
            yield (f"{name}.chosen: a list of [source, target] goes with {name}.rule: chosen, an empty one with the "
                   f"others (rule is {self.rule})")
        for source, target in self.chosen:
            if source == target:
                yield f"{name}.chosen: pairs {source!r} with itself"
        shares = [share for share in (self.train, self.validation, self.test) if isinstance(share, float)]
        if sum(shares) > 1 + 1e-9:
            yield (f"{name}.train, {name}.validation, {name}.test: shares of the sentences, together "
                   f"{sum(shares):g}; at most 1")
        if shared := sorted(set(self.validation_speakers) & set(self.test_speakers)):
            yield (f"{name}.validation_speakers, {name}.test_speakers: {', '.join(shared)} cannot be held out for "
                   "both")


Level = Literal["side", "speaker", "global"]


class StatsParams(Section):
    mel: Level
    pitch: Level
    energy: Level
    outliers: Annotated[float, Field(gt=0)] | None


def speaker_pitch(pitch: PitchParams, corpora: Mapping[str, CorpusParams]) -> SpeakerPitch:
    """The pitch section with the `corpora.<name>.pitch_ranges` of `corpora`."""
    ranges = {f"{name}/{speaker}": limits for name, corpus in corpora.items()
              for speaker, limits in corpus.pitch_ranges.items()}
    return SpeakerPitch(**pitch.model_dump(), ranges=ranges)


def pitch_contradictions(
    pitch: PitchParams, corpora: Mapping[str, CorpusParams], mel_params: MelParams
) -> Iterator[str]:
    """Contradictions between the F0 ranges, the general one and those of speakers, and the sample rate."""
    ranges = {"pitch.floor, pitch.ceiling": (pitch.floor, pitch.ceiling)}
    ranges |= {f"corpora.{name}.pitch_ranges.{speaker}": limits for name, corpus in corpora.items()
               for speaker, limits in corpus.pitch_ranges.items()}
    for name, (floor, ceiling) in ranges.items():
        if not 20 <= floor < ceiling <= mel_params.sample_rate / 4:
            yield (f"{name}: {floor:g} to {ceiling:g} Hz; expected 20 ≤ floor < ceiling ≤ "
                   f"a quarter of mel.sample_rate ({mel_params.sample_rate / 4:g})")
