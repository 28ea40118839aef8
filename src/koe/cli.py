"""The command line: `koe convert`, `export-onnx`, `vocode`, `vocoder`, `pack`, `summary`, `page`, `check`,
`check-params`, `estimate`, `doctor`, `exp`, `pipeline`.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from koe.errors import KoeError
from koe.experiments.cli import experiments
from koe.files import is_disk_full, is_file, is_folder
from koe.interruption import finish, raise_on_termination, status_of
from koe.pipeline.cli import pipeline
from koe.terminal import plain

if TYPE_CHECKING:
    from koe.tasks.conversion.convert import Converter

MODELS = Path("models")
SHIPPED = Path(__file__).resolve().parents[2] / "models/pretrained"

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Koe: from parallel recordings to a voice converter. dvc repro runs the pipeline itself.")
app.add_typer(experiments, name="exp")
app.add_typer(pipeline, name="pipeline")


@app.command()
def convert(
    source: Annotated[list[str], typer.Argument(metavar="RECORDING… OUTPUT", help=(
        "Recordings, then the output: a .wav or .flac for one recording, a folder for several; folder/ with a slash if "
        "its name has a dot and it does not exist."))],
    source_speaker: Annotated[str | None, typer.Option("--from", help=(
        "The speaker of the recordings, one of the training speakers. Not needed if training had a single source "
        "speaker, or with conditioning by encoder."))] = None,
    target_speakers: Annotated[list[str], typer.Option("--to", help=(
        "The target speaker, one of the training speakers; or, with conditioning by encoder, recordings of anybody: "
        "--to a.wav --to b.wav."))] = [],  # noqa: B006 (typer copies it)
    pitch: Annotated[float, typer.Option(metavar="SEMITONES", help="Raises the pitch, or lowers it if negative: -24 to "
                                         "24.")] = 0.0,
    energy: Annotated[float, typer.Option(metavar="FACTOR", help="Scales the amplitude of the model's output: 0.1 to "
                                          "10. 2.0 is more forceful, 0.5 softer.")] = 1.0,
    speed: Annotated[float, typer.Option(metavar="FACTOR", help="2.0 is twice as fast: 0.25 to 4.")] = 1.0,
    models: Annotated[Path | None, typer.Option(help=(
        "Folder that contains acoustic/ and vocoder/. Default: models, or the models that ship where there is none or "
        "it cannot take the voice of a recording."))] = None,
    vocoder: Annotated[str | None, typer.Option(help="griffin_lim, or a trained vocoder's folder. Default: the one "
                                                "beside the acoustic model.")] = None,
    onnx: Annotated[Path | None, typer.Option(help="Folder written by koe export-onnx, instead of --models; runs in "
                                              "ONNX Runtime, on the CPU.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what exists already.")] = False,
) -> None:
    """Converts recordings, of any length, into a target speaker's voice."""
    from koe.progress import progress
    from koe.tasks.conversion.convert import convert_file, convert_files
    from koe.tasks.conversion.inference import Adjustment
    from koe.tasks.conversion.outputs import output_file, outputs_in, require_some

    *paths, destination = map(Path, source)
    if not paths:
        raise KoeError("koe convert needs a recording and an output: koe convert in.wav out.wav")
    adjustment = Adjustment(pitch, energy, speed)
    examples = _examples(target_speakers)
    into_folder = _is_folder(source[-1], len(paths))
    if into_folder:
        require_some(outputs_in(destination, paths, examples, overwrite))
    else:
        output_file(paths[0], destination, examples, overwrite)
    converter = _converter(models, onnx, vocoder, device, bool(examples))
    target = target_speakers[0] if target_speakers else None
    if examples:
        converter, target = _with_speaker(converter, examples)
    if not into_folder:
        convert_file(converter, paths[0], destination, source_speaker, target, adjustment, overwrite, examples)
        print(destination)
        return
    failed = 0
    results = convert_files(converter, paths, destination, source_speaker, target, adjustment, overwrite, examples)
    for path, result in progress(results, "convert", total=len(paths)):
        if isinstance(result, KoeError):
            failed += 1
            print(plain(f"{path}: {result}"), file=sys.stderr)
    print(f"converted {len(paths) - failed} of {len(paths)} recordings into {destination}")
    if failed:
        raise typer.Exit(1)


def _is_folder(destination: str, recordings: int) -> bool:
    """Whether the last argument of `koe convert` is a folder. Raises KoeError if it cannot be what is needed."""
    from koe.audio.files import SUFFIXES, require_suffix

    path = Path(destination)
    if is_folder(path) or destination.endswith(("/", os.sep)):
        return True
    if recordings > 1 and (is_file(path) or path.suffix.lower() in SUFFIXES):
        raise KoeError(f"{path} reads as a recording, and {recordings} recordings need a folder as the last argument; "
                       f"is it missing? A folder of that name is written {path}/")
    if recordings == 1 and path.suffix:
        try:
            require_suffix(path)
        except KoeError as error:
            raise KoeError(f"{error}; a folder of that name is written {path}/") from None
    return recordings > 1 or not path.suffix


def _converter(
    models: Path | None, onnx: Path | None, vocoder: str | None, device: str, new_speaker: bool
) -> "Converter":
    from koe.tasks.conversion.convert import Converter
    from koe.vocoder.registry import load_vocoder

    if onnx is not None:
        from koe.onnx.runtime import load_converter

        converter = load_converter(onnx, with_vocoder=vocoder is None)
    else:
        own = models or (MODELS if is_folder(MODELS / "acoustic") else None)
        converter = Converter.load(own / "acoustic" if own else SHIPPED / "anyone", device=device)
        if own and models is None and new_speaker and not converter.model.speakers.takes_new:
            own, converter = None, Converter.load(SHIPPED / "anyone", device=device)
        if own is None:
            print(f"koe convert: by the models that ship, {SHIPPED}", file=sys.stderr)
        vocoder = vocoder or str(own / "vocoder" if own else SHIPPED / "universal")
    if vocoder is None:
        return converter
    return replace(converter, vocoder=load_vocoder(vocoder, converter.model.preparation.mel, device=device))


def _examples(names: list[str]) -> list[Path]:
    """The recordings that --to names; none if it names a speaker."""
    if len(names) < 2 and not any(is_file(Path(name)) for name in names):
        return []
    missing = [name for name in names if not is_file(Path(name))]
    if missing:
        raise KoeError(f"no such file: {', '.join(missing)}")
    return [Path(name) for name in names]


def _with_speaker(converter: "Converter", examples: list[Path]) -> "tuple[Converter, str]":
    """The converter with a new target speaker, whom recordings introduce, and the speaker's name."""
    from koe.tasks.conversion.convert import features_in_stretches

    name = examples[0].stem
    utterances = (features for path in examples for features in features_in_stretches(converter, path))
    return converter.with_speaker(name, utterances), name


@app.command("export-onnx")
def export_onnx_models(
    folder: Annotated[Path, typer.Argument(help="Folder to write the exported models to, for koe convert --onnx.")],
    models: Annotated[Path, typer.Option(help="Folder that contains acoustic/ and vocoder/.")] = Path("models"),
    vocoder: Annotated[str | None, typer.Option(help="Folder with another trained vocoder; griffin_lim: none.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what exists already.")] = False,
) -> None:
    """Writes the acoustic model and the vocoder as ONNX graphs for batches of any size and recordings of any length."""
    from koe.onnx.export import export_onnx

    trained = None if vocoder == "griffin_lim" else Path(vocoder or models / "vocoder")
    export_onnx(folder, models / "acoustic", trained, overwrite)
    print(folder)


@app.command()
def vocode(
    mel: Annotated[Path, typer.Argument(help="A .npy file: natural log-mel, float32 (frames, bands).")],
    destination: Annotated[Path, typer.Argument(help="The .wav or .flac to write.")],
    vocoder: Annotated[Path, typer.Option(help="Folder with a trained vocoder.")] = Path("models/vocoder"),
    f0: Annotated[Path | None, typer.Option(help="A .npy file: F0 in Hz, float32 (frames,), 0 where unvoiced; for "
                                            "vocoders that take F0.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what exists already.")] = False,
) -> None:
    """Synthesises a recording from a mel spectrogram, as the network makes it of this mel alone."""
    from koe.vocoder.vocode import vocode_file

    vocode_file(mel, destination, vocoder, f0, device, overwrite)
    print(destination)


vocoders = typer.Typer(no_args_is_help=True, help="Import and export vocoders.")
app.add_typer(vocoders, name="vocoder")


@vocoders.command("import")
def import_vocoder(
    generator: Annotated[Path, typer.Argument(help="g_XXXXXXXX; or ParallelWaveGAN's checkpoint-XXXXXXXXsteps.pkl.")],
    config: Annotated[Path, typer.Argument(help="Its config.json; or config.yml, which is ParallelWaveGAN's.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write the vocoder to.")],
    discriminators: Annotated[Path | None, typer.Option(help="do_XXXXXXXX, to train the vocoder further.")] = None,
    statistics: Annotated[Path | None, typer.Option(help="ParallelWaveGAN's stats.h5 or stats.npy.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what exists already.")] = False,
) -> None:
    """Turns a published HiFi-GAN checkpoint into a vocoder folder."""
    from koe.destinations import filling
    from koe.vocoder.model_file import FILES, save_vocoder
    from koe.vocoder.parallel_wavegan import import_parallel_wavegan
    from koe.vocoder.published import import_hifigan

    parallel_wavegan = config.suffix in {".yml", ".yaml"}
    if parallel_wavegan and (statistics is None or discriminators is not None):
        raise KoeError(f"{config} is a ParallelWaveGAN configuration; these models need --statistics stats.h5 (or "
                       ".npy), and their discriminators cannot be imported")
    if statistics is not None and not parallel_wavegan:
        raise KoeError("--statistics is for ParallelWaveGAN's config.yml; the mels of a config.json are not normalised")
    inputs = [path for path in (generator, config, discriminators, statistics) if path is not None]
    with filling(folder, FILES, inputs, overwrite) as temporary:
        if statistics is not None:
            model = import_parallel_wavegan(generator, config, statistics)
        else:
            model = import_hifigan(generator, config, discriminators)
        save_vocoder(temporary, model)
    mel = model.mel.model_dump()
    print(f"{folder}: {model.steps} steps; for mels of {', '.join(f'{name} {value:g}' for name, value in mel.items())}")


@vocoders.command("export")
def export_vocoder(
    vocoder: Annotated[Path, typer.Argument(help="Folder with a trained vocoder of model hifigan.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write g_XXXXXXXX, do_XXXXXXXX and config.json to.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what exists already.")] = False,
) -> None:
    """Writes a HiFi-GAN in the files of the public implementation."""
    from koe.vocoder.model_file import read_vocoder
    from koe.vocoder.published import caveats, export_hifigan

    model = read_vocoder(vocoder)
    for path in export_hifigan(model, folder, overwrite):
        print(path)
    for caveat in caveats(model):
        print(f"note: {caveat}", file=sys.stderr)


@app.command("pack")
def pack_model(
    model: Annotated[Path, typer.Argument(help="Folder with a trained acoustic model or vocoder.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write it to.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what exists already.")] = False,
) -> None:
    """Copies a model with its weights in half precision, which halves its size, for distribution."""
    from koe.destinations import filling
    from koe.tasks.conversion import model_file as acoustic
    from koe.vocoder import model_file as vocoder

    is_vocoder = is_file(model / vocoder.CARD)
    files = vocoder.FILES if is_vocoder else acoustic.FILES
    with filling(folder, files, model.glob("*"), overwrite) as temporary:
        if is_vocoder:
            vocoder.save_vocoder(temporary, vocoder.read_vocoder(model), half=True)
        else:
            acoustic.save_acoustic(temporary, acoustic.load_acoustic(model), half=True)
    print(folder)


@app.command()
def summary(
    metrics: Annotated[Path, typer.Option(help="Folder with the pipeline's metrics.")] = Path("metrics"),
) -> None:
    """Prints the evaluation as a short table, and the path of the page to listen to."""
    from koe.files import read_json, understood
    from koe.pipeline.declaration import load_pipeline
    from koe.report.summary import print_summary

    evaluation = metrics / "evaluation.json"
    if not evaluation.exists():
        raise KoeError(f"{evaluation} does not exist; run dvc repro first")
    with understood(evaluation):
        print_summary(read_json(evaluation), load_pipeline().evaluation)
    print(f"listen: {metrics / 'report' / 'index.html'}")
    if metrics == Path("metrics"):  # of this pipeline
        _notes([evaluation])


def _notes(outputs: list[Path]) -> list[str]:
    """Prints which of these outputs are not of the present parameters and data, a line each, and returns the lines."""
    from koe.pipeline.recorded import departure

    notes = [note for output in outputs if output.exists() and (note := departure(output))]
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    return notes


@app.command()
def page(
    output: Annotated[Path, typer.Option(help="Folder for the page, index.html.")] = Path("page"),
    overwrite: Annotated[bool, typer.Option(
        "--overwrite", help="Replace an index.html that is no page of Koe's.")] = False,
) -> None:
    """Writes the page of the pipeline in this folder from the outputs of its stages: results, players, curves."""
    from koe.pipeline.stage import code_revision
    from koe.destinations import check_page, write_page
    from koe.params.reading import check as check_values
    from koe.params.reading import read_values
    from koe.pipeline.declaration import EVALUATION, PipelineFolder, load_pipeline
    from koe.report.page import build_page

    check_page(output / "index.html", overwrite)
    pipeline = load_pipeline()
    folder = PipelineFolder(pipeline, check_values(pipeline.params, read_values()))
    notes = _notes([Path(f"{EVALUATION}.json"), *(Path("metrics") / training.stage for training in pipeline.trainings)])
    write_page(output / "index.html", build_page(folder, code_revision(), notes))
    print(f"listen: {output / 'index.html'}")


@app.command()
def check(
    corpus: Annotated[str | None, typer.Option(help="Only this corpus of params.yaml.")] = None,
    metrics: Annotated[Path | None, typer.Option(help="Folder with another run's data.json.")] = None,
) -> None:
    """Prints statistics of the recordings, what was excluded and why, and warnings; for pipelines with corpora.

    Reads data/, as far as the stages have run, or metrics/data.json if data/ is empty.
    """
    from koe.corpus.params import speaker_pitch
    from koe.files import read_json, understood
    from koe.params.reading import check as check_values
    from koe.params.reading import read_values
    from koe.pipeline.declaration import load_pipeline
    from koe.report.checks import count_present
    from koe.report.health import print_health

    params: Any = check_values(load_pipeline().params, read_values())
    if not all(hasattr(params, section) for section in ("corpora", "mel", "pitch")):
        raise KoeError("koe check is for pipelines with corpora; this params.yaml lacks one of the sections corpora, "
                       "mel and pitch. Run it in the folder of a pipeline that imports recordings")
    pitch = speaker_pitch(params.pitch, params.corpora)
    counts = count_present(params.corpora, params.mel, pitch, Path("data")) if metrics is None else None
    recorded = (metrics or Path("metrics")) / "data.json"
    if counts is None and not recorded.exists():
        raise KoeError(f"{recorded} does not exist, and data/features holds none of the corpora; run dvc repro first")
    with understood(recorded):
        print_health(counts or read_json(recorded), corpus)
    if metrics is None:
        _notes([Path("data/features", name) for name in params.corpora] if counts else [recorded])


@app.command("check-params")
def check_params(
    path: Annotated[Path, typer.Argument(help="The parameter file.")] = Path("params.yaml"),
) -> None:
    """Checks every parameter, and that they do not contradict each other, without running anything."""
    from koe.params.reading import check as check_values
    from koe.params.reading import read_values
    from koe.pipeline.declaration import load_pipeline

    check_values(load_pipeline().params, read_values(path), str(path))
    print(f"{path}: every parameter is valid, and none contradicts another")


@app.command()
def estimate() -> None:
    """Says how long each stage of the pipeline in this folder will take on this machine, and when it will be done.

    A few steps of each training run are done, and thrown away: in a minute or less, on a machine that is idle.
    """
    from koe.params.reading import check as check_values
    from koe.params.reading import read_values
    from koe.pipeline.declaration import load_pipeline
    from koe.pipeline.estimate import timetable

    pipeline = load_pipeline()
    for line in timetable(pipeline, check_values(pipeline.params, read_values())):
        print(line, flush=True)


@app.command()
def doctor(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Mends what a power failure, a full disk or kill -9 left: a damaged dvc.lock, DVC's locks, half-written files."""
    from koe.pipeline.doctor import examine, without_dvc
    from koe.workspace import project_root

    root = project_root()
    if root is None:
        raise KoeError("there is no project here or above (a folder with .dvc); run koe doctor inside of one")
    with without_dvc(root):
        findings = examine(root)
        for finding in findings:
            if finding.mend and not dry_run:
                finding.mend()
            print(f"{finding.path.relative_to(root)}: {finding.damage}; {finding.remedy}")
    if not findings:
        print("koe doctor: nothing is damaged or left over")
    elif dry_run:
        print("koe doctor: nothing was changed (--dry-run)")
    if any(finding.mend is None for finding in findings):
        raise typer.Exit(1)
    if findings and not dry_run:
        print("koe doctor: mended; dvc repro goes on from here")


def main() -> None:
    """Entry point: an error that the user can fix is one message and exit status 1; Ctrl-C and SIGTERM are one line."""
    raise_on_termination()
    try:
        app()
    except KoeError as error:
        print(plain(f"koe: {error}"), file=sys.stderr)
        raise SystemExit(1) from None
    except Exception as error:
        if not is_disk_full(error):
            raise
        print(f"koe: the disk is full ({error}); free some space and run the command again", file=sys.stderr)
        raise SystemExit(1) from None
    except SystemExit as ended:
        interruption = ended.__context__ and ended.__context__.__cause__  # typer's own exception is between
        if not isinstance(interruption, KeyboardInterrupt):
            finish()
            raise
        status = status_of(interruption)
        print("koe: interrupted", file=sys.stderr)
        raise SystemExit(status) from None


if __name__ == "__main__":
    main()
