"""`koe exp`: named experiments, and what came of them."""

import subprocess
from itertools import groupby

import typer

from koe.errors import ParameterError

experiments = typer.Typer(no_args_is_help=True, help="The experiments of experiments/, presets and runs of the log.")


@experiments.command("list")
def list_experiments() -> None:
    """Prints every experiment and its purpose, by folder."""
    from koe.experiments.named import experiment_names, read_experiment

    names = experiment_names()
    width = max(map(len, names), default=0)
    for folder, group in groupby(names, lambda name: name.rpartition("/")[0]):
        if folder:
            print(f"\n{folder}/")
        for experiment in map(read_experiment, group):
            date = f"{experiment.date}  " if experiment.date else ""
            print(f"{experiment.name:{width}}  {date}{experiment.purpose}")


@experiments.command("show")
def show_experiment(name: str) -> None:
    """Prints what an experiment is for, and every parameter that differs from params.yaml, with where it says so."""
    from koe.experiments.named import compose, differences, read_experiment
    from koe.params import check_params, read_values

    experiment, values = read_experiment(name), read_values()
    composed = compose(values, experiment)
    print(f"{experiment.date}: {experiment.purpose}" if experiment.date else experiment.purpose)
    if experiment.found:
        print(f"found: {experiment.found}")
    for difference in differences(values, composed):
        origin = experiment.origin(difference.parameter)
        print(f"  {difference}" + (f"  ({origin})" if origin != name else ""))
    try:
        check_params(composed, f"experiments/{name}.yaml")
    except ParameterError as error:
        if not experiment.refused:
            raise
        print(f"is refused: {error}")


@experiments.command("run", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run_experiment(context: typer.Context, name: str) -> None:
    """Runs an experiment by `dvc exp run -n NAME -S …`; further options (--queue, --temp, -S …) go to DVC."""
    from koe.experiments.named import arguments, compose, read_experiment
    from koe.params import check_params, read_values

    experiment, values = read_experiment(name), read_values()
    check_params(compose(values, experiment), f"experiments/{name}.yaml")
    command = ["dvc", "exp", "run", "-n", experiment.run_name, *arguments(values, experiment), *context.args]
    raise typer.Exit(subprocess.run(command, check=False).returncode)
