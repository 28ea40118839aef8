"""Running named experiments with DVC, one after another or queued (`koe exp run`)."""

import re
from collections.abc import Sequence
from pathlib import Path

from koe.errors import KoeError
from koe.experiments.dvc import dvc, dvc_aloud, git, run_references
from koe.experiments.idea import on as idea_on
from koe.experiments.named import (
    Experiment,
    arguments,
    check_composed,
    compose,
    differences,
    read_experiment,
    require_own_run_name,
)
from koe.params.reading import read_values
from koe.pipeline.declaration import Pipeline
from koe.terminal import show


def run(
    pipeline: Pipeline, names: Sequence[str], other: str | None = None, queue: bool = False,
    options: Sequence[str] = (),
) -> None:
    """Runs experiments of this folder's pipeline by `dvc exp run -n NAME -S …`, from the parameters of its params.yaml.

    Names and parameters of all are checked before the first starts; if one fails, the next ones still run.
    `other`: the experiment at whose size their ideas are run (koe.experiments.idea). `queue`: only queue them.
    `options`: further options of `dvc exp run`. Raises KoeError naming those that cannot run or failed.
    """
    values = read_values()
    experiments = [_at_size_of(pipeline, other, read_experiment(name)) if other else read_experiment(name)
                   for name in names]
    for experiment in experiments:
        require_own_run_name(experiment)
    _require_new([experiment.run_name for experiment in experiments], options)
    complete = []
    for experiment in experiments:
        composed = compose(values, experiment)
        where = experiment.name if other else f"experiments/{experiment.name}.yaml"
        check_composed(pipeline.params, values, composed, where)
        complete.append(Experiment(name=experiment.name, purpose=experiment.purpose, parameters=composed))
    options = [*(["--queue"] if queue else []), *options]
    failed = [experiment.run_name for experiment in complete if _run(experiment, options)]
    if failed:
        raise KoeError(f"{len(failed)} of {len(complete)} failed, see above: {', '.join(failed)}")
    if queue:
        show(f"queued: {', '.join(experiment.run_name for experiment in complete)}. Start them with dvc queue start "
             "(-j 2: two at a time); dvc queue status lists them, dvc queue logs NAME shows the output of one")


def _run(experiment: Experiment, options: Sequence[str]) -> int:
    """Returns the status of `dvc exp run`. Its arguments also undo what the run before has left in params.yaml."""
    settings = arguments(read_values(), experiment)
    return dvc_aloud("exp", "run", "-n", experiment.run_name, *settings, *options)


def apply(name: str) -> None:
    """Puts an experiment's files into the workspace, as `dvc exp apply` does.

    DVC ends with an error where a pipeline of the project was never run, for its outputs cannot be checked out; all of
    the rest is done then, and this is no error here. Raises KoeError if other outputs are missing, or with what DVC
    says.
    """
    try:
        dvc("exp", "apply", name)
    except KoeError as error:
        _, _, listing = str(error).partition("following targets:")
        missing = re.findall(r"^(\S+)$", listing.partition("Is your cache")[0], re.MULTILINE)
        if not missing or not all(map(_is_never_run, missing)):
            raise
    show(f"{name} is in the workspace")


def _is_never_run(output: str) -> bool:
    """Whether an output, from here on, is of a pipeline without a lock file: nothing of it was ever run."""
    place = Path(output).resolve()
    folder = next((above for above in place.parents if (above / "dvc.yaml").is_file()), None)
    return folder is not None and not (folder / "dvc.lock").exists()


def _at_size_of(pipeline: Pipeline, other: str, experiment: Experiment) -> Experiment:
    """The experiment's idea on the other one; prints what was taken over and what was not."""
    values, base = read_values(), read_experiment(other)
    combined, behind = idea_on(experiment, base, values, pipeline.idea)
    show(f"{combined.run_name}: {combined.purpose}")
    for difference in differences(compose(values, base), compose(values, combined)):
        show(f"  {difference}")
    if behind:
        show(f"  as in {other}: {', '.join(difference.parameter for difference in behind)}")
    return combined


def _require_new(run_names: Sequence[str], options: Sequence[str]) -> None:
    """Raises KoeError naming experiments given twice, or run or queued before, unless `options` contain -f."""
    if twice := sorted({name for name in run_names if run_names.count(name) > 1}):
        raise KoeError(f"given twice: {', '.join(twice)}")
    if {"-f", "--force"} & {*options}:
        return
    head, = git("rev-parse", "HEAD")
    ran = {run.name for run in run_references() if run.baseline == head}
    for state, existing in (("run from this commit already", ran), ("queued or running", _queued())):
        if again := [name for name in run_names if name in existing]:
            raise KoeError(f"{state}: {', '.join(again)} (dvc exp show, dvc queue status); with -f a new run replaces "
                           "that one")


def _queued() -> set[str]:
    """Names of experiments in DVC's queue, waiting or running."""
    rows = [line.split() for line in dvc("queue", "status")]
    return {row[1] for row in rows if len(row) > 2 and row[-1] in ("Queued", "Running")}
