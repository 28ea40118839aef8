"""Declaration of the pipeline that trains a vocoder for any voice."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from koe.audio.params import MelParams, PitchParams, ResampleParams, TrimParams
from koe.corpus.importers.registry import importer_contradictions
from koe.corpus.params import Corpora, pitch_contradictions
from koe.params.section import Section
from koe.pipeline.declaration import Pipeline, Training
from koe.vocoder.params import VocoderParams, vocoder_contradictions


class Params(Section):
    """All of params.yaml."""

    seed: Annotated[int, Field(ge=0, lt=2**63)]
    corpora: Corpora
    mel: MelParams
    resample: ResampleParams
    trim: TrimParams
    pitch: PitchParams
    vocoder: VocoderParams

    def contradictions(self, name: str) -> Iterator[str]:
        yield from importer_contradictions(self.corpora)
        yield from pitch_contradictions(self.pitch, self.corpora, self.mel)
        yield from vocoder_contradictions(self.vocoder, self.mel)
        if self.vocoder.training.true_mels != 1:
            yield (f"vocoder.training.true_mels: {self.vocoder.training.true_mels:g}, but this pipeline has no "
                   "generated mels; set it to 1")


_DATA = tuple(f"../../stages/{name}.py" for name in ("scan", "import_corpus", "resample", "trim", "extract"))

PIPELINE = Pipeline(
    params=Params,
    stages=(*_DATA, "stages/train_vocoder.py"),
    trainings=(Training("train_vocoder", "Vocoder", "vocoder", "validation/mel", card="vocoder.json"),),
)
