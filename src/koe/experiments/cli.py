"""`koe exp`: named experiments and their results."""

from itertools import takewhile
from pathlib import Path
from typing import Annotated, Literal

import typer

from koe.errors import KoeError
from koe.interruption import status_of
from koe.terminal import show

experiments = typer.Typer(no_args_is_help=True, help="Named experiments (experiments/**/*.yaml): list, run, compare.")


@experiments.command("list")
def list_experiments() -> None:
    """Prints every experiment with its purpose and notes, by folder, then all other runs."""
    from koe.experiments.listing import print_list

    print_list()


@experiments.command("show")
def show_experiment(name: str) -> None:
    """Prints an experiment's purpose, every parameter that differs, with the file that sets it, and notes.

    NAME: one of experiments/, compared with params.yaml; or any run, compared with the commit that it started from.
    """
    from koe.experiments.listing import print_experiment, print_run
    from koe.experiments.named import FOLDER
    from koe.pipeline.declaration import load_pipeline

    if (FOLDER / f"{name}.yaml").is_file():
        print_experiment(load_pipeline(), name)
    else:
        print_run(name)


@experiments.command("run", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run_experiments(
    words: Annotated[list[str], typer.Argument(metavar="NAME… [OPTIONS OF dvc exp run]", help=(
        "Experiments of experiments/; then -S PARAMETER=VALUE, --temp, -f and the like."))],
    other: Annotated[str | None, typer.Option("--on", metavar="NAME", help=(
        "Run their changes on this experiment's corpora and at its sizes, e.g. demo."))] = None,
    queue: Annotated[bool, typer.Option("--queue", help="Queue them; dvc queue start runs them.")] = False,
) -> None:
    """Runs experiments by `dvc exp run -n NAME -S …`, one after another; all are checked before the first starts."""
    from koe.experiments.running import run
    from koe.pipeline.declaration import load_pipeline

    names = list(takewhile(lambda word: not word.startswith("-"), words))
    if not names:
        raise KoeError("koe exp run: give the names of experiments first, then options: koe exp run NAME --temp")
    run(load_pipeline(), names, other, queue, words[len(names):])


@experiments.command("apply")
def apply_experiment(
    name: Annotated[str, typer.Argument(help="An experiment that was run, or a revision.")],
) -> None:
    """Puts an experiment's files into the workspace; dvc exp apply, where a pipeline of the project was never run."""
    from koe.experiments.running import apply

    apply(name)


@experiments.command("note")
def note_experiment(
    name: Annotated[str, typer.Argument(help="An experiment that was run, or a git revision.")],
    text: Annotated[str, typer.Argument(help="One line.")],
) -> None:
    """Adds a note to an experiment; koe exp list, show and compare print it."""
    from koe.experiments.notes import write_note

    show(f"noted; to share it: {write_note(name, text)}")


@experiments.command("verify")
def verify_experiment(name: str) -> None:
    """Runs an experiment or a git revision again, from scratch, and checks that its metrics are identical."""
    from koe.experiments.verification import verify

    result = verify(name)
    for difference in result.different:
        show(difference)
    if result.different:
        show(f"{len(result.different)} of {result.metrics} metrics differ from those of {name} ({result.commit[:7]}). "
             "They are equal only with the same processor, number of threads (OMP_NUM_THREADS) and package versions")
        raise typer.Exit(1)
    show(f"{name} ({result.commit[:7]}): all {result.metrics} metrics in {result.files} files are identical")


@experiments.command("sweep")
def sweep_parameters(
    name: Annotated[str, typer.Argument(help="Names the sweep; its trials are the experiments NAME-00, NAME-01, …")],
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="PARAMETER=VALUES", help=(
        "What varies: [1, 2, 4] for choices, 1..4 or 0.0..0.5 for a range, 1e-4..1e-2:log for a range on a "
        "logarithmic scale."))] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="Stop after this many trials in total.")] = None,
    hours: Annotated[float | None, typer.Option(min=0, help=(
        "Stop after this time; a trial that is running can be continued."))] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Try every combination, instead of searching.")] = False,
    search: Annotated[Literal["tpe", "random"] | None, typer.Option(help="How to search. Default: tpe.")] = None,
    metric: Annotated[str | None, typer.Option(help=(
        "A curve, <stage>/<curve>, whose last value counts, or a number of metrics/summary.json. "
        "Default: the pipeline's own."))] = None,
    prune: Annotated[Literal["median", "halving", "none"] | None, typer.Option(help=(
        "Stop a trial that is worse than half of the others were at its step (median, the default), or not in the "
        "best third at the 1st, 3rd, 9th … validation (halving)."))] = None,
    until: Annotated[str | None, typer.Option(help="A later stage to run too, after the one that makes the metric."
                                              )] = None,
    summary: Annotated[bool, typer.Option("--summary", help="Show the results so far, and run nothing.")] = False,
) -> None:
    """Tries values of parameters, each trial a DVC experiment. Repeat the command to continue a sweep that stopped."""
    from koe.experiments.sweep import Budget, define, open_study, read_sweep, run_sweep
    from koe.experiments.sweep_summary import print_summary, write_page
    from koe.experiments.trials import DvcRunner
    from koe.params.reading import read_values

    options = {"settings": settings, "method": "grid" if grid else search, "metric": metric, "prune": prune,
               "until": until}
    options = {name: value for name, value in options.items() if value}
    if grid and search:
        raise KoeError("--grid tries every combination and --search only some: give one of the two")
    if summary:
        sweep = read_sweep(name)
    else:
        sweep = define(name, read_values(), **options)
        if sweep.method != "grid" and trials is None and hours is None:
            raise KoeError("a search never ends by itself: give --trials, --hours or both")
        try:
            run_sweep(sweep, Budget(trials, hours), DvcRunner(sweep.objective, sweep.until, sweep.folder))
        except KeyboardInterrupt as interruption:
            show(f"stopped; koe exp sweep {name} with the same budget continues it")
            raise typer.Exit(status_of(interruption)) from None
    study = open_study(sweep)
    print_summary(sweep, study)
    show(write_page(sweep, study))


@experiments.command("compare")
def compare_runs(
    names: Annotated[list[str], typer.Argument(metavar="A B…", help=(
        "Runs: experiments that were run, git revisions, or workspace. The others are compared with the first."))],
    output: Annotated[Path, typer.Option(help="Folder for the page, index.html.")] = Path("comparison"),
    overwrite: Annotated[bool, typer.Option(
        "--overwrite", help="Replace an index.html that is no page of Koe's.")] = False,
) -> None:
    """Writes a page with runs side by side: parameters, metrics with uncertainty, curves, players, a blind test."""
    from koe.destinations import check_page, write_page
    from koe.experiments.comparison import compare
    from koe.experiments.comparison_page import build_comparison_page
    from koe.experiments.comparison_summary import print_comparison
    from koe.experiments.outcome import open_outcome
    from koe.pipeline.declaration import load_pipeline

    pipeline = load_pipeline()
    check_page(output / "index.html", overwrite)
    comparison = compare([open_outcome(name, pipeline) for name in names])
    write_page(output / "index.html", build_comparison_page(comparison))
    print_comparison(comparison)
    show(f"listen: {output / 'index.html'}")
