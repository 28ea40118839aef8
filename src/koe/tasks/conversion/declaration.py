"""Declaration of voice conversion for the rest of the project: metrics, training runs, page and comparisons.

The one module of this task that `stages/pipeline.py` builds the pipeline's declaration from. Every command reads it, so
modules that take long to import are imported inside functions.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from koe.evaluation.metric import (
    CER,
    DURATION_RATIO,
    F0_CORRELATION,
    LOG_F0_RMSE,
    MCD,
    MOS,
    PESQ,
    SPEAKER_SIMILARITY,
    VOICING_ERROR,
    WER,
)
from koe.pipeline.declaration import (
    SIZES,
    Block,
    Compared,
    Evaluation,
    Idea,
    PipelineFolder,
    ResultRow,
    Training,
    Tree,
)
from koe.report.blocks import DATA, LISTEN, PARAMETERS, QUARANTINE, TRAINING, TRIMS, pictures, players
from koe.tasks.conversion.model_kind import ACOUSTIC
from koe.tasks.conversion.params import shaping_parameters
from koe.vocoder.model_kind import VOCODER
from koe.vocoder.params import VocoderParams, vocoder_label

_HERE = Path(__file__).parent
TITLE = "Koe: what the conversion sounds like"
ESTIMATE = "koe.tasks.conversion.estimate"
SWEEP_METRIC = "train_acoustic/validation/mcd_db"  # free-running, as conversion works

TRAININGS = (
    *(Training("train_aligner", f"Aligner, {method}", f"align.{method}", f"validation/{judged}", part=method,
               work=f"aligner-{method}", only_if=(("align.method", method), ("align.compare", method)))
      for method, judged in (("attention", "mel"), ("learned", "forward_sum"))),
    Training("train_acoustic", "Acoustic model", "acoustic", "validation/mcd_db", card=ACOUSTIC.card),
    Training("finetune_vocoder", "Vocoder", "vocoder", "validation/mel", card=VOCODER.card),
)


def headline(values: Tree) -> str:
    """The condition that represents a run: the vocoder that evaluation.headline names, converted."""
    trained = values["evaluation"]["headline"] == "trained"
    return f"{values['vocoder']['model'] if trained else 'griffin_lim'}.converted"


EVALUATION = Evaluation(
    metrics=(MCD, LOG_F0_RMSE, F0_CORRELATION, VOICING_ERROR, DURATION_RATIO, SPEAKER_SIMILARITY, WER, CER, MOS),
    also=(PESQ,),
    conditions=(
        ResultRow("source", made=False, folder="data/reference"),
        ResultRow("*.converted", "converted, {}", ceiling="*.ceiling"),
        ResultRow("griffin_lim.ceiling", "ceiling, Griffin-Lim", made=False, folder="data/reference"),
        ResultRow("*.ceiling", "ceiling, {}", made=False),
        ResultRow("target", made=False, folder="data/reference"),
    ),
    names={name: vocoder_label(name) for name in ("griffin_lim", *VocoderParams.kinds())},
    start="source",
    target="target",
    headline=headline,
    compared=(
        Compared("Converted by the trained vocoder", "{vocoder.model}.converted"),
        Compared("Converted by Griffin-Lim", "griffin_lim.converted"),
        Compared("Ceiling: the target's own mel through the trained vocoder", "{vocoder.model}.ceiling"),
        Compared("Ceiling: the target's own mel through Griffin-Lim", "griffin_lim.ceiling"),
    ),
    note=("Under a converted value: its difference from the source, and as a bar its share of the way from the source "
          "to the\nceiling. The ceiling is the target's own mel through the same vocoder: no conversion with this "
          "vocoder can be expected to be better."),
    beside=("mcd_db", "wer"),
    beside_compared=("mcd_db", "log_f0_rmse", "wer", "mos"),
    pairs="data/pairs",
    f0=True,
)

FACTS = (
    "seed", "mel.sample_rate", "mel.hop_length", "pitch.method", "pair.rule", "align.method", "align.features",
    "acoustic.conditioning.by", "acoustic.reduction.by", "acoustic.reduction.factor", "acoustic.encoder.hidden",
    "acoustic.teacher_forcing.start", "acoustic.teacher_forcing.end",
    "acoustic.pitch.stop_gradient", "acoustic.training.steps",
    "acoustic.training.batch_size", "acoustic.training.schedule.learning_rate", "vocoder.model",
    "vocoder.init.from", "vocoder.training.steps", "vocoder.training.schedule.learning_rate",
)

IDEA = Idea(
    sizes=SIZES | {"spectral_steps", "validation_pairs"},
    of_recordings=frozenset({
        "report", "pair.across_corpora", "pair.train", "pair.validation", "pair.test", "evaluation.pairs",
        "evaluation.pairs_per_direction", "evaluation.wer", "vocoder.training.validation.utterances",
    }),
    # What was trained for other mels, or as another network, cannot be the start.
    starts={"acoustic.init.from": ("mel", *shaping_parameters("acoustic")),
            "vocoder.init.from": ("mel", "vocoder.model", "vocoder.{vocoder.model}")},
)


def _results(folder: PipelineFolder) -> Mapping[str, Any]:
    from koe.tasks.conversion.page import load_results_by_direction

    return load_results_by_direction(folder)


def _alignment(folder: PipelineFolder) -> Mapping[str, Any]:
    from koe.tasks.conversion.page import load_alignment

    return load_alignment(folder)


RESULTS = Block("Results", "results", _HERE / "directions.html.jinja", _results)
ALIGNMENT = Block("Alignment", "alignment", _HERE / "alignment.html.jinja", _alignment)
PAGE = (
    RESULTS,
    LISTEN,
    TRAINING,
    pictures("trained", "metrics/train_acoustic/plots/images", "What the model made while training",
             "Log-mels of validation pairs, converted with nothing of the target known, above the target's, by "
             "optimizer steps."),
    players("heard", "metrics/finetune_vocoder/players", "What the vocoder sounded like while training",
            "Validation pairs, on which it is not trained, each from the same mel, by optimizer steps, and the "
            "target's recording.", "the vocoder"),
    ALIGNMENT,
    TRIMS,
    QUARANTINE,
    DATA,
    PARAMETERS,
)
