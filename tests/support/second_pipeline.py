"""A made-up pipeline of another task in a temporary folder: other stages, metrics, conditions, no pairs and no vocoder.

Copy synthesis, a mel spoken again. Its declaration says what a user would: DECLARATION, as it stands in a file.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from koe.evaluation.measure import evaluation_table, summarize
from koe.files import write_json
from koe.pipeline.declaration import Pipeline, load_pipeline
from koe.store import ShardWriter
from support.parameters import project_values

DECLARATION = '''
from koe.audio.params import MelParams
from koe.evaluation.metric import WER, Metric
from koe.params.section import Section
from koe.pipeline.declaration import Evaluation, Pipeline, Training


class Fit(Section):
    steps: int
    validate_every: int


class Copy(Section):
    width: int
    training: Fit


class Params(Section):
    seed: int
    mel: MelParams
    copier: Copy


PIPELINE = Pipeline(
    params=Params,
    stages=("stages/fit.py", "stages/judge.py"),
    title="Koe: what copy synthesis sounds like",
    trainings=(Training("fit", "Copier", section="copier", judged_by="validation/clarity"),),
    evaluation=Evaluation(
        metrics=(Metric("clarity", "Clarity", "points", 1, "higher", "made up"), WER),
        target="recording", headline="copied", stage="judge"),
    facts=("copier.width",),
)
'''
ITEMS = tuple(f"speaker/s{number}" for number in range(8))
CONDITIONS = {"recording": 9.0, "copied": 6.0, "copied_worse": 3.0}


def write_pipeline(folder: Path) -> Pipeline:
    """A folder with the declaration and its parameters, nothing run yet."""
    (folder / "stages").mkdir(parents=True)
    (folder / "stages/pipeline.py").write_text(DECLARATION)
    values = {"seed": 1, "mel": project_values()["mel"],
              "copier": {"width": 4, "training": {"steps": 40, "validate_every": 10}}}
    (folder / "params.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    return load_pipeline(folder)


def write_results(folder: Path, better: float = 0.0) -> None:
    """What its stages leave: curves, recordings, metrics."""
    rate = project_values()["mel"]["sample_rate"]
    generator, rows = np.random.default_rng(0), []
    with ShardWriter(folder / "data/evaluation") as writer:
        for number, item in enumerate(ITEMS):
            wave = (8000 * np.sin(np.arange(rate // 4) * (0.05 + 0.01 * number))).astype(np.int16)
            writer.add(item, **dict.fromkeys(CONDITIONS, wave))
            rows += [{"pair": item, "condition": condition, "text": f"sentence {number}", "transcript": "sentence",
                      "clarity": clarity + generator.normal(0, 0.1) + better * (condition == "copied"),
                      "wer": 0.5, "word_errors": 1, "words": 2} for condition, clarity in CONDITIONS.items()]
    table = pd.DataFrame(rows)
    evaluation_table(table.columns).write(folder / "metrics", table)
    write_json(folder / "metrics/evaluation.json", summarize(table, ("clarity", "wer")))
    curves = folder / "metrics/fit/plots/metrics"
    for state in ("train", "validation"):
        (curves / state).mkdir(parents=True)
        lines = [f"{step}\t{step / 10 + better}" for step in (10, 20, 30, 40)]
        (curves / state / "clarity.tsv").write_text("\n".join(["step\tclarity", *lines]) + "\n")
    (folder / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")


def write_finished(folder: Path, better: float = 0.0) -> Pipeline:
    """The pipeline with its results."""
    pipeline = write_pipeline(folder)
    write_results(folder, better)
    return pipeline
