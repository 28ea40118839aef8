"""The declaration of a pipeline, from which commands, pages and comparisons learn everything about its task.

A pipeline is a folder with dvc.yaml, params.yaml and `stages/`; `stages/pipeline.py` defines its `PIPELINE`. The
project's root is one (voice conversion), and so is every folder of pipelines/.

Everything except `params` and `stages` is optional. What stages write by convention need not be declared:
`metrics/evaluation.csv` and `.json` (koe.evaluation.measure), `metrics/<training stage>/plots` (koe.training.session),
and recordings of held-out items as shards, with a field for each condition.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koe.errors import KoeError
from koe.evaluation.metric import Metric
from koe.params.reading import at
from koe.params.section import Section
from koe.pipeline.loading import load_declaration

EVALUATION = "metrics/evaluation"  # .csv: a row for each held-out item and condition; .json: means of each condition
SUMMARY = "metrics/summary.json"  # the few numbers by which a run is judged
PAGE = Path("metrics/report/index.html")
SIZES = frozenset({
    "steps", "epochs", "batch_size", "batch_frames", "accumulate", "warmup_steps", "anneal_steps", "from_step",
    "until_step", "log_every", "validate_every", "checkpoint_every", "keep_every", "early_stopping", "precision",
    "compile",
})  # parameters of training runs, by the last part of their names, that set duration, intervals and batches

Tree = Mapping[str, Any]  # the content of a params.yaml


@dataclass(frozen=True)
class Training:
    """A stage that trains a model."""

    stage: str  # its name in dvc.yaml; its curves are in metrics/<stage>
    title: str  # on pages
    section: str  # of params.yaml: `<section>.training` and `<section>.init` are its parameters
    judged_by: str  # the curve whose lowest value marks the best validation
    card: str | None = None  # the model's description file, if `<section>.init.from` can name a model of this kind
    part: str = ""  # if the stage trains several models: the curves of this one are in metrics/<stage>/<part>
    work: str = ""  # prefix of its folder in work/; if empty, the section's name
    only_if: tuple[tuple[str, Any], ...] = ()  # parameters and values: trained only if one of them has its value

    @property
    def curves(self) -> str:
        """The folder of its curves, relative to metrics/."""
        return f"{self.stage}/{self.part}".rstrip("/")

    @property
    def work_name(self) -> str:
        return self.work or self.section

    def is_used(self, values: Tree) -> bool:
        """Whether a run with these parameters trains it."""
        return not self.only_if or any(_get(values, name) == value for name, value in self.only_if)


@dataclass(frozen=True)
class ResultRow:
    """A row of the results: a condition under which held-out items are measured and listened to."""

    name: str  # a value of the column `condition`; `*` matches anything, so `*.converted` is the speech of any vocoder
    label: str = "{}"  # on pages; `{}` is replaced by what `*` matches or, without `*`, by the name
    made: bool = True  # by the trained model: compared with the start, and emphasised. False: a reference
    folder: str = "data/evaluation"  # of its recordings
    ceiling: str = ""  # the condition that is the best it can reach, with the same `*`

    def matched(self, name: str) -> str | None:
        """What `*` matches in `name`, or all of `name` if there is no `*`; None if it is another condition."""
        before, star, after = self.name.partition("*")
        if not star:
            return name if name == self.name else None
        fits = name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after)
        return name[len(before) : len(name) - len(after)] if fits else None


@dataclass(frozen=True)
class Compared:
    """A table of a comparison: each run's results under one condition."""

    title: str
    condition: str  # `{vocoder.model}` in it is replaced by the value of that parameter in the run


@dataclass(frozen=True)
class Evaluation:
    """How held-out items are measured, listened to and compared."""

    metrics: tuple[Metric, ...] = ()  # columns of the results, the most important first
    conditions: tuple[ResultRow, ...] = ()  # rows, in this order; if empty, every condition that was measured
    names: Mapping[str, str] = field(default_factory=dict)  # labels for what `*` matches
    start: str = ""  # the condition of the model's input, from which progress is measured
    target: str = ""  # the condition that the model should reach
    headline: str | Callable[[Tree], str] = ""  # the condition by which a run is judged, or its function of params.yaml
    compared: tuple[Compared, ...] = ()  # if empty, every condition except start and target
    note: str = ""  # below the results: how to read them
    beside: tuple[str, ...] = ()  # metrics beside a player of the page; if empty, the first two
    beside_compared: tuple[str, ...] = ()  # metrics beside a player of a comparison; if empty, the first four
    also: tuple[Metric, ...] = ()  # metrics that exist only as validation curves; sweeps need their direction
    stage: str = "evaluate"  # the stage that writes SUMMARY
    pairs: str = ""  # the folder of pairs.csv, if the items are pairs of a source and a target utterance
    audio: bool = True  # whether there are recordings to play; needs the section `mel`
    f0: bool = False  # whether comparisons draw F0; needs the sections `pitch` and `corpora`

    def metric(self, name: str) -> Metric | None:
        return next((metric for metric in (*self.metrics, *self.also) if metric.name == name), None)

    def condition(self, name: str) -> ResultRow:
        """The declared row that a condition matches, or a default one."""
        declared = next((condition for condition in self.conditions if condition.matched(name) is not None), None)
        return declared or ResultRow(name, made=name not in (self.start, self.target))

    def label(self, name: str) -> str:
        condition = self.condition(name)
        matched = condition.matched(name) or ""
        return condition.label.format(self.names.get(matched, matched))

    def ceiling(self, name: str) -> str:
        condition = self.condition(name)
        return condition.ceiling.replace("*", condition.matched(name) or "")

    def ordered(self, names: Iterable[str]) -> list[str]:
        """Names of conditions in the order of the results. If rows are declared, undeclared conditions are left out."""
        names = list(names)
        if not self.conditions:
            return names
        return [name for condition in self.conditions for name in names if self.condition(name) == condition]

    def headline_of(self, values: Tree) -> str:
        """The condition by which a run with these parameters is judged."""
        return self.headline(values) if callable(self.headline) else filled(self.headline, values)

    @property
    def beside_player(self) -> tuple[Metric, ...]:
        return self._named(self.beside) or self.metrics[:2]

    @property
    def beside_compared_player(self) -> tuple[Metric, ...]:
        return self._named(self.beside_compared) or self.metrics[:4]

    def _named(self, names: tuple[str, ...]) -> tuple[Metric, ...]:
        return tuple(metric for metric in self.metrics if metric.name in names)


@dataclass(frozen=True)
class Idea:
    """Rules for `koe exp run --on`: which parameters of an experiment are not part of its idea (koe.experiments.idea).

    The experiment on which it is run decides these.
    """

    sizes: frozenset[str] = SIZES
    of_recordings: frozenset[str] = frozenset({"report"})  # parameters and sections that depend on the recordings
    choosers: tuple[str, ...] = ("model", "method", "by", "name")  # parameters that choose a part of their section
    # Parameters that name a model to start from, each with the parameters and sections whose change makes that model
    # unfit; `{vocoder.model}` is replaced by the value of that parameter.
    starts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """A section of a pipeline's page."""

    title: str  # in the page's navigation
    anchor: str  # the section's id
    template: Path  # Jinja: a <section id="anchor">. It can import and extend the templates of koe/report
    load: "Callable[[PipelineFolder], Mapping[str, Any] | None]"  # the template's values; None: no section


@dataclass(frozen=True)
class Pipeline:
    """A pipeline as commands, pages and comparisons know it."""

    params: type[Section]  # the schema of its params.yaml
    stages: tuple[str, ...]  # scripts, relative to the pipeline's folder, in the order of dvc.yaml
    trainings: tuple[Training, ...] = ()
    evaluation: Evaluation = Evaluation()
    title: str = "Koe"  # heading of its page
    page: tuple[Block, ...] | None = None  # None: results, players, curves and parameters (koe.report.blocks)
    facts: tuple[str, ...] = ()  # parameters at the head of the page
    sweep_metric: str = ""  # <stage>/<curve>; if empty, the curve by which the first training is judged
    idea: Idea = Idea()
    corpora: str = "data/corpus"  # outputs that must be the same in runs that are compared
    # The module of `stage_seconds` (koe.pipeline.estimate). Not the function: what pages import, their stage depends on
    estimate: str = ""

    def training_of(self, name: str) -> Training | None:
        """The training that has the curve `name` (<stage>/<curve>)."""
        matching = [training for training in self.trainings if f"{name}/".startswith(f"{training.curves}/")]
        return max(matching, key=lambda training: len(training.curves), default=None)

    @property
    def swept(self) -> str:
        """The default metric of a sweep. Raises KoeError if the pipeline trains nothing."""
        if self.sweep_metric:
            return self.sweep_metric
        if not self.trainings:
            raise KoeError(f"this pipeline declares no training run, so --metric must name a number of {SUMMARY}")
        return f"{self.trainings[0].curves}/{self.trainings[0].judged_by}"


@dataclass(frozen=True, eq=False)
class PipelineFolder:
    """A pipeline's folder with the outputs of its stages, from which the blocks of its page are loaded."""

    pipeline: Pipeline
    params: Any  # of the class `pipeline.params`
    path: Path = Path()

    @property
    def values(self) -> dict[str, Any]:
        """The content of its params.yaml."""
        values: dict[str, Any] = self.params.model_dump(mode="json")
        return values

    def limit(self, name: str, default: int) -> int:
        """`report.<name>` of its parameters, a number of items that the page shows; `default` without that section."""
        return int(getattr(getattr(self.params, "report", None), name, default))


def filled(text: str, values: Tree) -> str:
    """A text with `{vocoder.model}` and the like replaced by the values of these parameters."""
    return re.sub(r"\{([\w.]+)\}", lambda match: str(_get(values, match[1])), text)


def _get(values: Tree, name: str) -> Any:
    """The value of a parameter; None if there is no such parameter."""
    try:
        return at(values, name)
    except KeyError:
        return None


def load_pipeline(folder: str | Path = ".") -> Pipeline:
    """The pipeline that a folder declares. Raises KoeError if it declares none."""
    pipeline: Pipeline = load_declaration(folder)
    return pipeline
