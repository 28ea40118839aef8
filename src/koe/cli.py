"""The command line: `koe convert`, `koe summary`, `koe check-params`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from koe.errors import AudioError, KoeError

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Koe: parallel recordings in, a voice converter out. The pipeline itself is run by dvc repro.")


@app.command()
def convert(
    source: Annotated[list[Path], typer.Argument(help="Recordings of the source speaker, then where to write: a "
                                                      "file for one recording, a folder for more.")],
    models: Annotated[Path, typer.Option(help="Folder that holds acoustic/ and vocoder/.")] = Path("models"),
    vocoder: Annotated[str, typer.Option(help="griffin_lim, or a folder with a trained vocoder.")] = "griffin_lim",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Converts recordings of the source speaker into the target speaker's voice."""
    from koe.convert import Converter, convert_file, convert_files
    from koe.progress import progress
    from koe.vocoder.registry import load_vocoder

    *sources, destination = source
    if not sources:
        raise KoeError("koe convert needs a recording and where to write it: koe convert in.wav out.wav")
    missing = [str(path) for path in sources if not path.is_file()]
    if missing:
        raise KoeError(f"no such file: {', '.join(missing)}")
    converter = Converter.load(models / "acoustic", device=device)
    converter.vocoder = load_vocoder(vocoder, converter.model.preparation.mel)
    if len(sources) == 1 and destination.suffix:
        convert_file(converter, sources[0], destination)
        print(destination)
        return
    failed = 0
    for path, result in progress(convert_files(converter, sources, destination), "convert", total=len(sources)):
        if isinstance(result, AudioError):
            failed += 1
            print(f"{path}: {result}", file=sys.stderr)
    print(f"{len(sources) - failed} of {len(sources)} converted, in {destination}")
    if failed:
        raise typer.Exit(1)


@app.command()
def summary(
    metrics: Annotated[Path, typer.Option(help="Folder with the pipeline's metrics.")] = Path("metrics"),
) -> None:
    """Prints the evaluation as a short table, and where to listen."""
    from koe.files import read_json
    from koe.report.summary import print_summary

    evaluation = metrics / "evaluation.json"
    if not evaluation.exists():
        raise KoeError(f"{evaluation} does not exist; run dvc repro first")
    print_summary(read_json(evaluation))
    print(f"listen: {metrics / 'report' / 'index.html'}")


@app.command("check-params")
def check_params(
    path: Annotated[Path, typer.Argument(help="The parameter file.")] = Path("params.yaml"),
) -> None:
    """Checks every parameter, and their agreement, without running anything."""
    from koe.params import load_params

    load_params(path)
    print(f"{path}: every parameter is valid, and they agree with each other")


def main() -> None:
    """Entry point: an error that the user can mend is one message and exit status 1."""
    try:
        app()
    except KoeError as error:
        print(f"koe: {error}", file=sys.stderr)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
