"""What a pipeline declares: the one door through which commands, pages and comparisons know a task.

A pipeline is a folder with dvc.yaml, params.yaml and `stages/`; `stages/pipeline.py` holds its `PIPELINE`. The
project's root is one (voice conversion), and every folder of pipelines/ is.

Everything but `params` and `stages` may be left out. What its stages write by convention is found without being
declared: `metrics/evaluation.csv` and `.json` (koe.evaluation.measure), `metrics/<stage of a training>/plots`
(koe.training.session), and recordings of held-out items as shards, with a field for each condition.
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

EVALUATION = "metrics/evaluation"  # .csv: a row for each held-out item and condition; .json: each condition's summary
SUMMARY = "metrics/summary.json"  # the few numbers that a run is judged by
PAGE = Path("metrics/report/index.html")
SIZES = frozenset({
    "steps", "epochs", "batch_size", "batch_frames", "accumulate", "warmup_steps", "anneal_steps", "from_step",
    "until_step", "log_every", "validate_every", "checkpoint_every", "keep_every", "early_stopping", "precision",
    "compile",
})  # parameters of training runs, by their last word, that say how long, how often and in what batches

Tree = Mapping[str, Any]  # a params.yaml as it is read


@dataclass(frozen=True)
class Training:
    """A stage that trains a model."""

    stage: str  # its name in dvc.yaml; its curves are in metrics/<stage>
    title: str  # on pages
    section: str  # of params.yaml: `<section>.training` and `<section>.init` are its parameters
    judged_by: str  # the curve whose lowest value is the best validation
    card: str | None = None  # the file that describes it in its folder, if `<section>.init.from` can name another
    part: str = ""  # of a stage that trains several models: its curves are in metrics/<stage>/<part>
    work: str = ""  # what its folder in work/ begins with; if empty, the section's name
    only_if: tuple[tuple[str, Any], ...] = ()  # parameters and values: it is trained if one of them has its value

    @property
    def curves(self) -> str:
        """The folder of its curves, in metrics/."""
        return f"{self.stage}/{self.part}".rstrip("/")

    @property
    def work_name(self) -> str:
        return self.work or self.section

    def is_used(self, values: Tree) -> bool:
        """Whether a run with these parameters trains it."""
        return not self.only_if or any(_get(values, name) == value for name, value in self.only_if)


@dataclass(frozen=True)
class ResultRow:
    """A row of the results: a condition under which held-out items were measured, and are listened to.

    Its name is a value of column `condition`. `*` stands for anything: `*.converted` is speech of every vocoder.
    """

    name: str
    label: str = "{}"  # on pages; `{}` is what `*` stands for or, without one, the name
    made: bool = True  # by what is trained: compared with the start, and emphasised; otherwise a reference
    folder: str = "data/evaluation"  # of its recordings
    ceiling: str = ""  # the condition that is the best it can reach, with the same `*`

    def matched(self, name: str) -> str | None:
        """What `*` stands for in `name`, or all of it where there is no `*`; None if it is another condition."""
        before, star, after = self.name.partition("*")
        if not star:
            return name if name == self.name else None
        fits = name.startswith(before) and name.endswith(after) and len(name) > len(before) + len(after)
        return name[len(before) : len(name) - len(after)] if fits else None


@dataclass(frozen=True)
class Compared:
    """A table of a comparison: each run's results under one condition."""

    title: str
    condition: str  # `{vocoder.model}` in it is the value of that parameter in the run


@dataclass(frozen=True)
class Evaluation:
    """How held-out items are measured, listened to and compared."""

    metrics: tuple[Metric, ...] = ()  # columns of the results, the most important first
    conditions: tuple[ResultRow, ...] = ()  # rows, in their order; if empty, every condition that was measured
    names: Mapping[str, str] = field(default_factory=dict)  # labels of what `*` stands for
    start: str = ""  # the condition that the model is given, from which the others have come some way
    target: str = ""  # the condition that they are to reach
    headline: str | Callable[[Tree], str] = ""  # the condition that a run is judged by, or how its parameters say it
    compared: tuple[Compared, ...] = ()  # if empty, every condition but start and target
    note: str = ""  # below the results: how to read them
    beside: tuple[str, ...] = ()  # metrics beside a player of the page; if empty, the first two
    beside_compared: tuple[str, ...] = ()  # and of a comparison; if empty, the first four
    also: tuple[Metric, ...] = ()  # metrics of validation curves alone, for sweeps to know which way is better
    stage: str = "evaluate"  # the stage that writes SUMMARY
    pairs: str = ""  # the folder of pairs.csv, if the items are pairs of a source and a target utterance
    audio: bool = True  # whether there are recordings to hear; their mel settings are the section `mel`
    f0: bool = False  # whether F0 is drawn in comparisons; its settings are the sections `pitch` and `corpora`

    def metric(self, name: str) -> Metric | None:
        return next((metric for metric in (*self.metrics, *self.also) if metric.name == name), None)

    def condition(self, name: str) -> ResultRow:
        """What is declared of a condition."""
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
        """Names of conditions in the order of the results; what is not declared is left out, if any are."""
        names = list(names)
        if not self.conditions:
            return names
        found = [[name for name in names if self.condition(name) == condition] for condition in self.conditions]
        return [name for same in found for name in same]

    def headline_of(self, values: Tree) -> str:
        """The condition that a run with these parameters is judged by."""
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
    """What of an experiment is not its idea, so that the experiment at whose size it is run decides it instead."""

    sizes: frozenset[str] = SIZES
    of_recordings: frozenset[str] = frozenset({"report"})  # parameters and sections that follow from the recordings
    choosers: tuple[str, ...] = ("model", "method", "by", "name")  # what chooses a part of its section, by name
    # Parameters that name a model to start from, with the parameters and sections a change of which makes it unfit;
    # `{vocoder.model}` is the value of that parameter.
    starts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Block:
    """A section of a pipeline's page."""

    title: str  # of the link to it
    anchor: str  # the section's id
    template: Path  # Jinja: a <section id="anchor">. Templates of koe/report can be imported and extended
    load: "Callable[[PipelineFolder], Mapping[str, Any] | None]"  # what the template gets; None: there is no section


@dataclass(frozen=True)
class Pipeline:
    """What is known of a pipeline outside of its own stages."""

    params: type[Section]  # the schema of its params.yaml
    stages: tuple[str, ...]  # scripts, from the pipeline's folder, in the order in which dvc.yaml lists them
    trainings: tuple[Training, ...] = ()
    evaluation: Evaluation = Evaluation()
    title: str = "Koe"  # heading of its page
    page: tuple[Block, ...] | None = None  # None: results, players, curves and parameters (koe.report.blocks)
    facts: tuple[str, ...] = ()  # parameters at the head of the page
    sweep_metric: str = ""  # <stage>/<curve>; if empty, what the first training is judged by
    idea: Idea = Idea()
    corpora: str = "data/corpus"  # outputs that runs must have in common to be comparable

    def training_of(self, name: str) -> Training | None:
        """The training of whose curves `name` (<stage>/<curve>) is one."""
        found = [training for training in self.trainings if f"{name}/".startswith(f"{training.curves}/")]
        return max(found, key=lambda training: len(training.curves), default=None)

    @property
    def swept(self) -> str:
        """The metric that a sweep goes by, if none is given. Raises KoeError if the pipeline trains nothing."""
        if self.sweep_metric:
            return self.sweep_metric
        if not self.trainings:
            raise KoeError(f"this pipeline declares no training run to judge by; give --metric, a number of {SUMMARY}")
        return f"{self.trainings[0].curves}/{self.trainings[0].judged_by}"


@dataclass(frozen=True, eq=False)
class PipelineFolder:
    """A pipeline's folder with what its stages have left there: what the blocks of its page are loaded from."""

    pipeline: Pipeline
    params: Any  # of the class `pipeline.params`
    path: Path = Path()

    @property
    def values(self) -> dict[str, Any]:
        """Its parameters as a tree."""
        values: dict[str, Any] = self.params.model_dump(mode="json")
        return values

    def limit(self, name: str, default: int) -> int:
        """`report.<name>` of its parameters, if there is such a section: how many of something the page shows."""
        return int(getattr(getattr(self.params, "report", None), name, default))


def filled(text: str, values: Tree) -> str:
    """`{vocoder.model}` in a text replaced by the value of that parameter."""
    return re.sub(r"\{([\w.]+)\}", lambda match: str(_get(values, match[1])), text)


def _get(values: Tree, name: str) -> Any:
    """The value of a parameter; None where there is none."""
    try:
        return at(values, name)
    except KeyError:
        return None


def load_pipeline(folder: str | Path = ".") -> Pipeline:
    """The pipeline whose folder this is. Raises KoeError if it has none."""
    pipeline: Pipeline = load_declaration(folder)
    return pipeline
