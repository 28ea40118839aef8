"""`koe exp list` and `koe exp show`: prints experiments of experiments/, runs, and the notes on them."""

from itertools import groupby

from koe.errors import KoeError, ParameterError
from koe.experiments.dvc import commit_of, git, run_of, run_references
from koe.experiments.named import (
    check_composed,
    compose,
    differences,
    experiment_names,
    read_experiment,
    run_name_of,
)
from koe.experiments.notes import notes_of
from koe.files import understood
from koe.params.reading import read_values
from koe.pipeline.declaration import Pipeline
from koe.terminal import show
from koe.yaml_files import parse_yaml


def print_list() -> None:
    """Prints every experiment with its purpose and notes, by folder; then runs without a file in experiments/.

    A file that cannot be read is a row too, with the reason.
    """
    runs = {name: list(group) for name, group in groupby(run_references(), lambda run: run.name)}
    names = experiment_names()
    others = [name for name in runs if name not in set(map(run_name_of, names))]
    width = max(map(len, [*names, *others]), default=0)
    for folder, group in groupby(names, lambda name: name.rpartition("/")[0]):
        if folder:
            show(f"\n{folder}/")
        for name in group:
            show(f"{name:{width}}  {_purpose(name)}")
            for run in runs.get(run_name_of(name), []):
                _print_notes(run.commit, width + 2)
    if others:
        show("\nother runs")
    for run in (run for name in others for run in runs[name]):
        date, = git("log", "-1", "--format=%cs", run.commit)
        show(f"{run.name:{width}}  {date}, from {run.baseline[:7]}")
        _print_notes(run.commit, width + 2)


def _purpose(name: str) -> str:
    try:
        experiment = read_experiment(name)
    except KoeError as error:
        return f"cannot be read: {' '.join(str(error).split())}"
    return f"{experiment.date}  {experiment.purpose}" if experiment.date else experiment.purpose


def print_experiment(pipeline: Pipeline, name: str) -> None:
    """Prints an experiment's purpose, and every parameter that differs from params.yaml, with the file that sets it."""
    experiment, values = read_experiment(name), read_values()
    composed = compose(values, experiment)
    show(f"{experiment.date}: {experiment.purpose}" if experiment.date else experiment.purpose)
    if experiment.found:
        show(f"found: {experiment.found}")
    for difference in differences(values, composed):
        origin = experiment.origin(difference.parameter)
        show(f"  {difference}" + (f"  ({origin})" if origin != name else ""))
    try:
        check_composed(pipeline.params, values, composed, f"experiments/{name}.yaml")
    except ParameterError as error:
        if not experiment.refused:
            raise
        show(f"it is refused: {error}")
    if run_of(name):
        _print_notes(name)


def print_run(name: str) -> None:
    """Prints a run's date, every parameter in which it differs from the commit that it started from, and its notes.

    Raises KoeError if there is no run or revision of that name, or if it is the workspace.
    """
    commit = commit_of(name)
    if commit is None:
        raise KoeError("koe exp show: the workspace is not a run; dvc params diff shows what was changed in it")
    run = run_of(name)
    date, subject = git("log", "-1", "--format=%cs%n%s", run.commit if run else commit)
    show(f"{date}: run from {run.baseline[:7]}" if run else f"{date}: {subject} ({commit[:7]})")
    for difference in differences(_params(run.baseline), _params(run.commit)) if run else ():
        show(f"  {difference}")
    _print_notes(name)


def _params(commit: str) -> dict[str, object]:
    with understood(where := f"params.yaml of {commit[:7]}", "it was committed so"):
        return dict(parse_yaml("\n".join(git("show", f"{commit}:./params.yaml")), where))


def _print_notes(name: str, indent: int = 0) -> None:
    for note in notes_of(name):
        show(f"{'':{indent}}{note}")
