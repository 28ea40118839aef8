"""Declaration of the voice conversion pipeline."""

from koe.pipeline.declaration import Pipeline
from koe.tasks.conversion.declaration import (
    ESTIMATE,
    EVALUATION,
    FACTS,
    IDEA,
    PAGE,
    SWEEP_METRIC,
    TITLE,
    TRAININGS,
)
from koe.tasks.conversion.schema import Params

_STAGES = (
    "scan", "import_corpus", "resample", "trim", "extract", "pair", "train_aligner", "align", "embed", "stats", "check",
    "train_acoustic", "generate_mels", "finetune_vocoder", "reference", "evaluate", "report",
)

PIPELINE = Pipeline(
    params=Params,
    stages=tuple(f"stages/{name}.py" for name in _STAGES),
    title=TITLE,
    trainings=TRAININGS,
    evaluation=EVALUATION,
    page=PAGE,
    facts=FACTS,
    sweep_metric=SWEEP_METRIC,
    idea=IDEA,
    estimate=ESTIMATE,
)
