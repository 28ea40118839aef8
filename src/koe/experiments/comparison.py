"""Two or more runs side by side, as plain numbers and arrays: the content of the page of `koe exp compare`.

The others are compared with the first run. Every difference of a metric comes with its uncertainty over utterances, so
that noise is not mistaken for progress; training runs are compared at equal steps (lesson 37 in docs/lessons.md).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any, Literal

import numpy as np
import pandas as pd

from koe.audio.params import MelParams, SpeakerPitch
from koe.audio.pitch import extract_f0, pitch_range
from koe.audio.samples import from_int16
from koe.errors import KoeError
from koe.evaluation.bootstrap import FEWEST, interval, paired_resamples
from koe.evaluation.cepstrum import PitchRange
from koe.evaluation.metric import Metric
from koe.experiments.dvc import WORKSPACE, git
from koe.experiments.named import experiment_names, read_experiment, run_name_of
from koe.experiments.notes import notes_of
from koe.experiments.outcome import Outcome, code_used, made, parameters_used
from koe.names import speaker_key
from koe.params.reading import flatten
from koe.pipeline.declaration import Evaluation, Training, filled
from koe.randomness import numpy_generator
from koe.report.clips import direction_of, spread
from koe.report.curves import Curve
from koe.report.listening import Rendering, rendering_of

MOST_RUNS = 6  # the number of colours that can be told apart
SENTENCES = 20  # held-out pairs whose recordings are embedded; with more, the page becomes too large to open
_SHORTEST_SECONDS = 0.1  # F0 is not extracted from shorter recordings
_NAMED = 5  # files, parameters or pairs that a warning names, at most

Verdict = Literal["better", "worse", "within noise", "equal"]


@dataclass(frozen=True)
class Run:
    """One of the runs."""

    letter: str  # its name on the page
    name: str
    notes: Sequence[str] = ()


@dataclass(frozen=True)
class ComparedValue:
    """A run's aggregate, and its difference to the first run's."""

    value: float | None  # None: not measured
    difference: float | None = None  # None: this is the first run, or one of the two was not measured
    interval: tuple[float, float] | None = None  # 95 % interval of the difference; None with too few pairs
    verdict: Verdict | None = None


@dataclass(frozen=True)
class Measured:
    """A metric of all runs, over the pairs for which all of them have it."""

    metric: Metric
    pairs: int
    cells: Sequence[ComparedValue]  # by run


@dataclass(frozen=True)
class ConditionTable:
    """The metrics of all runs under one condition."""

    title: str
    measured: Sequence[Measured]


@dataclass(frozen=True)
class EqualStep:
    """A validated part at the last step that all runs with that part have in common."""

    part: str
    step: int | None  # None: no step in common
    values: Sequence[float | None]  # by run, at that step
    last: Sequence[tuple[int, float] | None]  # by run, its own last step and the value there


@dataclass(frozen=True)
class ComparedTraining:
    """The curves of a training in all runs."""

    parts: Mapping[str, Mapping[int, Mapping[str, Curve]]]  # by part, index of the run, and `train` or `validation`
    equal_steps: Sequence[EqualStep]


@dataclass(frozen=True)
class RunRendering:
    """A held-out item in one run."""

    run: int | None  # index of the run; None for references
    rendering: Rendering
    mel: MelParams
    f0: np.ndarray | None  # Hz (frames,), 0 = unvoiced; None if F0 is not drawn


@dataclass(frozen=True)
class Sentence:
    """A held-out item in all runs."""

    pair: str
    direction: str
    text: str
    renderings: Sequence[RunRendering]  # start, target, and the output of each run
    differences: Mapping[str, float]  # by metric, the largest difference to the first run


@dataclass(frozen=True)
class Comparison:
    """Everything on the page."""

    runs: Sequence[Run]
    warnings: Sequence[str]  # reasons to doubt the comparison
    missing: Sequence[str]  # what could not be read
    parameters: Mapping[str, Sequence[Any]]  # those that differ, with a value per run
    tables: Sequence[ConditionTable]  # the headline first
    evaluation: Evaluation
    trainings: Mapping[str, ComparedTraining] = field(default_factory=dict)
    pairs: int = 0  # held-out pairs that all runs have
    sentences: Sequence[Sentence] = ()


class _Absent:
    def __str__(self) -> str:
        return "–"


ABSENT = _Absent()  # stands for the value of a parameter that a run does not have


def compare(outcomes: Sequence[Outcome]) -> Comparison:
    """Compares runs with the first of them and lists what is missing. Raises KoeError if nothing can be compared."""
    if not 2 <= len(outcomes) <= MOST_RUNS:
        raise KoeError(f"compare takes 2 to {MOST_RUNS} runs, got {len(outcomes)}; {WORKSPACE} counts as one")
    missing: list[str] = []
    common = common_pairs(outcomes)
    if not common:
        raise KoeError(f"{' and '.join(outcome.label for outcome in outcomes)} have no held-out pair in common: "
                       "their corpora or their splits differ, so nothing can be compared")
    titled_conditions = conditions_of(outcomes)
    if not titled_conditions:
        raise KoeError(f"{outcomes[0].label}: none of the conditions that this pipeline compares was measured")
    return Comparison(
        runs=[Run(letter, outcome.label, remarks(outcome))
              for letter, outcome in zip(ascii_uppercase, outcomes, strict=False)],
        warnings=list(warnings(outcomes, common)),
        parameters=differing_parameters(outcomes),
        tables=[ConditionTable(title, measured(outcomes, conditions, common))
                for title, conditions in titled_conditions],
        evaluation=outcomes[0].pipeline.evaluation,
        trainings={training.title: compare_training(outcomes, training, missing)
                   for training in outcomes[0].pipeline.trainings
                   if any(training.is_used(outcome.params) for outcome in outcomes)},
        pairs=len(common),
        sentences=sentences(outcomes, common, missing),
        missing=missing,
    )


def remarks(outcome: Outcome) -> list[str]:
    """The purpose of a run's experiment in experiments/, or the first line of its commit; then the notes on it."""
    named = [name for name in experiment_names() if outcome.name in (name, run_name_of(name))]
    purposes = [read_experiment(name).purpose for name in named]
    if outcome.commit is None:
        return purposes
    subject, = git("log", "-1", "--format=%s", outcome.commit)
    generated = subject.startswith(("dvc: commit", "koe: note"))
    if not purposes and not generated:
        purposes = [subject]
    return [*purposes, *map(str, notes_of(outcome.commit))]


def common_pairs(outcomes: Sequence[Outcome]) -> list[str]:
    """The held-out pairs that all runs have, sorted."""
    return sorted(set.intersection(*(set(outcome.utterances["pair"]) for outcome in outcomes)))


def differing_parameters(outcomes: Sequence[Outcome]) -> dict[str, list[Any]]:
    """Parameters, by dotted name, that are not the same in all runs, with a value per run."""
    trees = [dict(flatten(outcome.params)) for outcome in outcomes]
    names = dict.fromkeys(name for tree in trees for name in tree)
    rows = {name: [tree.get(name, ABSENT) for tree in trees] for name in names}
    return {name: values for name, values in rows.items() if any(value != values[0] for value in values)}


def warnings(outcomes: Sequence[Outcome], common: Sequence[str]) -> Iterator[str]:
    """Differences between the runs that make the comparison doubtful."""
    first = outcomes[0]
    for outcome in outcomes:
        if changed := _changed_since(outcome):
            yield (f"{outcome.label}: params.yaml was changed after the results were made ({_some(changed)}); run dvc "
                   "repro, otherwise the parameters below are not those of the results")
    for outcome in outcomes[1:]:
        names = f"{first.label} and {outcome.label}"
        before, after = (made(run.lock, run.pipeline.corpora) for run in (first, outcome))
        if corpora := _unequal(before, after):
            yield f"{names}: the corpora differ ({_some(corpora)})"
        held_out = [set(run.utterances["pair"]) for run in (first, outcome)]
        if held_out[0] != held_out[1]:
            yield (f"{names}: the held-out sentences differ: {len(held_out[0])} and {len(held_out[1])} pairs, "
                   f"{len(held_out[0] & held_out[1])} in both")
        if changed := _other_references(first, outcome, common):
            yield f"{names}: the same held-out pairs have other recordings or texts ({_some(changed)})"
        before, after = (code_used(run.lock) for run in (first, outcome))
        if code := _unequal(before, after):
            yield f"{names}: they were made by different code ({_some(code)})"


def _changed_since(outcome: Outcome) -> list[str]:
    """Parameters of the workspace that differ from those with which its results were made."""
    if outcome.commit is not None:
        return []
    used = dict(flatten(parameters_used(outcome.lock)))
    now = dict(flatten(outcome.params))
    return [name for name, value in now.items() if name in used and used[name] != value]


def _unequal(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return sorted(name for name in {*before, *after} if before.get(name) != after.get(name))


def _other_references(first: Outcome, outcome: Outcome, common: Sequence[str]) -> list[str]:
    """Common pairs whose target differs in length or text, as far as the tables have these columns."""
    if not (target := first.pipeline.evaluation.target):
        return []
    sides = []
    columns = [name for name in ("seconds", "text") if all(name in run.utterances for run in (first, outcome))]
    for run in (first, outcome):
        targets = run.utterances[run.utterances["condition"] == target].set_index("pair")
        sides.append(targets.reindex(common)[columns])
    return [pair for pair, same in zip(common, (sides[0] == sides[1]).all(axis=1), strict=True) if not same]


def _some(names: Sequence[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def conditions_of(outcomes: Sequence[Outcome]) -> list[tuple[str, list[str]]]:
    """The tables of a comparison: a title, and the condition of each run. The headline of the first run comes first.

    Equivalent conditions may have different names in two runs, since they are named after the trained vocoders.
    """
    evaluation, measured = outcomes[0].pipeline.evaluation, [set(run.utterances["condition"]) for run in outcomes]
    if evaluation.compared:
        tables = [(compared.title, [filled(compared.condition, outcome.params) for outcome in outcomes])
                  for compared in evaluation.compared]
    else:
        names = evaluation.ordered(dict.fromkeys(name for run in outcomes for name in run.utterances["condition"]))
        tables = [(evaluation.label(name), [name] * len(outcomes)) for name in names
                  if name not in (evaluation.start, evaluation.target)]
    headline = evaluation.headline_of(outcomes[0].params)
    tables.sort(key=lambda table: table[1][0] != headline)
    return [(title, names) for title, names in tables
            if any(name in conditions for name, conditions in zip(names, measured, strict=True))]


def measured(outcomes: Sequence[Outcome], conditions: Sequence[str], common: Sequence[str]) -> list[Measured]:
    """Every metric of the runs, each run under its condition, over the common pairs."""
    tables = [_under(outcome, condition, common) for outcome, condition in zip(outcomes, conditions, strict=True)]
    seed = outcomes[0].params.get("seed", 0)
    return [_measured(metric, tables, seed) for metric in outcomes[0].pipeline.evaluation.metrics]


def _under(outcome: Outcome, condition: str, common: Sequence[str]) -> pd.DataFrame:
    """The rows of a condition, indexed by the common pairs; cells of pairs that were not measured are empty."""
    rows = outcome.utterances[outcome.utterances["condition"] == condition]
    return rows.set_index("pair").reindex(common)


def _measured(metric: Metric, tables: Sequence[pd.DataFrame], seed: int) -> Measured:
    known = np.stack([table[metric.name].notna() for table in tables])
    having = np.flatnonzero(known.any(axis=1)).tolist()  # runs that have the metric at all
    pairs = known[having].all(axis=0)
    cells, count = [ComparedValue(None)] * len(tables), int(pairs.sum())
    if not having or not count:
        return Measured(metric, 0, cells)
    totals, weights = np.stack([_parts(metric, tables[run][pairs]) for run in having], axis=1)
    aggregates = totals.sum(axis=1) / weights.sum(axis=1)
    resampled = paired_resamples(totals, weights, numpy_generator(seed, "bootstrap", metric.name))
    for place, run in enumerate(having):
        if run > 0 and having[0] == 0:
            cells[run] = _cell(metric, aggregates[[0, place]], resampled[[0, place]], count)
        else:
            cells[run] = ComparedValue(float(aggregates[place]))
    return Measured(metric, count, cells)


def _parts(metric: Metric, table: pd.DataFrame) -> np.ndarray:
    """Totals and weights (2, pairs). The ratio of their sums is the aggregate, as in `koe.evaluation.measure`."""
    if metric.pooled:
        return table[list(metric.pooled)].to_numpy(float).T
    return np.stack([table[metric.name].to_numpy(float), np.ones(len(table))])


def _cell(metric: Metric, aggregates: np.ndarray, resampled: np.ndarray, pairs: int) -> ComparedValue:
    """`aggregates` (2,): of the first run and of this one; `resampled` (2, resamples): the same of each resample."""
    value, difference = float(aggregates[1]), float(aggregates[1] - aggregates[0])
    if pairs < FEWEST:
        return ComparedValue(value, difference)
    bounds = interval(resampled[1] - resampled[0], pairs)
    low, high = interval(metric.badness(resampled[1]) - metric.badness(resampled[0]), pairs)
    verdict: Verdict = "within noise"
    if bounds == (0, 0):
        verdict = "equal"
    elif high < 0:
        verdict = "better"
    elif low > 0:
        verdict = "worse"
    return ComparedValue(value, difference, bounds, verdict)


def compare_training(outcomes: Sequence[Outcome], training: Training, missing: list[str]) -> ComparedTraining:
    """The curves of all runs. Curves that a run should have but does not are reported in `missing`."""
    curves = []
    for outcome in outcomes:
        try:
            curves.append(outcome.curves(training.curves) if training.is_used(outcome.params) else {})
        except KoeError as error:
            missing.append(str(error))
            curves.append({})
    parts: dict[str, dict[int, dict[str, Curve]]] = {}
    for run, own in enumerate(curves):
        for part, named in own.items():
            shown = {state: named[state] for state in ("train", "validation", part) if state in named}
            if shown:
                parts.setdefault(part, {})[run] = shown
    validated = {part: {run: dict(states["validation"]) for run, states in by_run.items() if "validation" in states}
                 for part, by_run in parts.items()}
    return ComparedTraining(parts, [_equal_step(part, by_run, len(outcomes))
                                    for part, by_run in validated.items() if by_run])


def _equal_step(part: str, by_run: Mapping[int, Mapping[int, float]], runs: int) -> EqualStep:
    steps = set.intersection(*(set(curve) for curve in by_run.values()))
    step = max(steps, default=None)
    ends = [(max(by_run[run]), by_run[run][max(by_run[run])]) if run in by_run else None for run in range(runs)]
    values = [by_run[run][step] if run in by_run and step is not None else None for run in range(runs)]
    return EqualStep(part, step, values, ends)


def sentences(outcomes: Sequence[Outcome], common: Sequence[str], missing: list[str]) -> list[Sentence]:
    """SENTENCES held-out pairs at most, as all runs speak them, evenly spaced by name, so that the choice does not
    depend on results. A run without recordings is left out and reported in `missing`.
    """
    first = outcomes[0]
    evaluation = first.pipeline.evaluation
    if not evaluation.audio:
        return []
    _, conditions = conditions_of(outcomes)[0]
    tables = [_under(outcome, condition, common) for outcome, condition in zip(outcomes, conditions, strict=True)]
    audible: list[tuple[int | None, Outcome, str]] = []
    for run, (outcome, condition) in enumerate(zip(outcomes, conditions, strict=True)):
        try:
            outcome.audio(common[0], condition)
            audible.append((run, outcome, condition))
        except KoeError as error:
            missing.append(str(error))
    try:
        references = [(None, first, condition) for condition in (evaluation.start, evaluation.target)
                      if condition and audible]
        differences = largest_differences(tables, evaluation.metrics)
        return [_sentence(pair, first, [*references, *audible], differences[pair])
                for pair in spread(common, SENTENCES if audible else 0)]
    except KoeError as error:
        missing.append(str(error))
        return []


def largest_differences(tables: Sequence[pd.DataFrame], metrics: Sequence[Metric]) -> dict[str, dict[str, float]]:
    """For each pair and metric, the largest distance of a run from the first. What was not measured is left out."""
    names = [metric.name for metric in metrics]
    values = np.stack([table[names].to_numpy(float) for table in tables])
    distances = np.abs(values[1:] - values[0])
    largest = np.where(np.isnan(distances), -1.0, distances).max(axis=0)
    return {pair: {name: float(value) for name, value in zip(names, row, strict=True) if value >= 0}
            for pair, row in zip(tables[0].index, largest, strict=True)}


def _sentence(
    pair: str, first: Outcome, audible: Sequence[tuple[int | None, Outcome, str]], differences: Mapping[str, float]
) -> Sentence:
    evaluation, speakers = first.pipeline.evaluation, []
    direction = ""
    if evaluation.pairs:
        source, target = first.pairs.loc[pair, ["source", "target"]]
        speakers, direction = [speaker_key(name) for name in (source, target)], direction_of(source, target)
    pitch = _pitch_range(first.pitch, speakers) if evaluation.f0 else None
    renderings = [_rendering(pair, run, outcome, condition, pitch) for run, outcome, condition in audible]
    rows = first.utterances.set_index("pair").loc[[pair]]
    return Sentence(pair, direction, rows["text"].iloc[0] if "text" in rows else "", renderings, differences)


def _pitch_range(pitch: SpeakerPitch, speakers: Sequence[str]) -> PitchRange:
    """The F0 search range, the same as in the evaluation: from the lowest floor to the highest ceiling."""
    ranges = np.array([pitch_range(pitch, speaker) for speaker in speakers] or [(pitch.floor, pitch.ceiling)])
    return PitchRange(pitch.method, ranges[:, 0].min(), ranges[:, 1].max())


def _rendering(pair: str, run: int | None, outcome: Outcome, condition: str, pitch: PitchRange | None) -> RunRendering:
    rows = outcome.utterances
    row = rows[(rows["pair"] == pair) & (rows["condition"] == condition)].to_dict("records")[0]
    audio, mel = outcome.audio(pair, condition), outcome.mel
    rendering = rendering_of(condition, audio, row, mel, outcome.pipeline.evaluation)
    if pitch is None:
        return RunRendering(run, rendering, mel, None)
    f0 = np.zeros(0, np.float32)
    if len(audio) >= _SHORTEST_SECONDS * mel.sample_rate:
        f0 = extract_f0(from_int16(audio), mel.sample_rate, mel.hop_length, pitch.method, pitch.floor, pitch.ceiling)
    return RunRendering(run, rendering, mel, f0)
