"""The conversion pipeline, as commands and pages know it."""

from koe.pipeline.declaration import Pipeline, Training
from koe.tasks.conversion.schema import Params

_NAMES = ("scan", "import_corpus", "resample", "trim", "extract", "pair", "train_aligner", "align", "embed", "stats",
          "check", "train_acoustic", "generate_mels", "finetune_vocoder", "reference", "evaluate", "report")

PIPELINE = Pipeline(
    params=Params,
    stages=tuple(f"stages/{name}.py" for name in _NAMES),
    trainings=(
        Training("train_acoustic", "Acoustic model", "acoustic", "validation/mcd_db", card="model.json"),
        Training("finetune_vocoder", "Vocoder", "vocoder", "validation/mel", card="vocoder.json"),
    ),
)
