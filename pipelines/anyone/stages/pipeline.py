"""Declaration of the pipeline that trains an acoustic model for any two speakers."""

from koe.pipeline.declaration import Pipeline
from koe.tasks.conversion.declaration import ESTIMATE, TRAININGS
from koe.tasks.conversion.schema import PairsParams

_STAGES = ("scan", "import_corpus", "resample", "trim", "extract", "pair", "train_aligner", "align", "embed", "stats",
           "train_acoustic")

PIPELINE = Pipeline(
    params=PairsParams,
    stages=tuple(f"../../stages/{name}.py" for name in _STAGES),
    trainings=tuple(training for training in TRAININGS if training.stage in _STAGES),
    estimate=ESTIMATE,
)
