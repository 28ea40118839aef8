"""scan: what lies outside the project (recordings, and models to start from), so that a change there re-runs what
depends on it and nothing else.
"""

from pathlib import Path

from koe.pipeline.stage import Stage, StageFiles, StageParameters
from koe.corpus.params import Corpora
from koe.corpus.scan import scan_corpus
from koe.errors import KoeError
from koe.files import read_json, write_json
from koe.params.reading import at, read_values
from koe.pipeline.loading import load_declaration
from koe.pipeline.models import find_model
from koe.training.references import ModelKind
from koe.workspace import work_root


class Parameters(StageParameters):
    corpora: Corpora


class Inputs(StageFiles):
    pass


class Outputs(StageFiles):
    scan: Path = Path("data/scan")


STAGE = Stage("scan", "what lies outside, recordings and models to start from; looked at before each run, so that what "
              "follows runs if it changed", Parameters, Inputs, Outputs, looks_outside=True)


def main(params: Parameters, inputs: Inputs, outputs: Outputs) -> None:
    for name, corpus in params.corpora.items():
        found = scan_corpus(name, corpus, outputs.scan, work_root() / "scan")
        print(f"{name}: {found['files']} files, {found['bytes'] / 2**20:.1f} MiB" if found else
              f"{name}: no recordings at {corpus.path} here; its recorded state is used")
    starts = [ModelKind(training.section, training.card) for training in load_declaration().trainings if training.card]
    files = {kind: outputs.scan / f"{kind.section}.init.json" for kind in starts}  # no corpus has a dot in its name
    for path in outputs.scan.glob("*.json"):
        if path.stem not in params.corpora and path not in files.values():
            path.unlink()
    values = read_values()
    for kind, file in files.items():
        scan_initial(kind, at(values, f"{kind.section}.init.from"), file)


def scan_initial(kind: ModelKind, name: str | None, file: Path) -> None:
    """Writes {"from", "digest"} of the model to start from; of one that is not here, what is recorded stays."""
    try:
        digest = find_model(kind, name).digest if name else None
    except KoeError:
        if not file.exists() or read_json(file)["from"] != name:
            raise
        print(f"{kind.section}.init.from: {name} is not here; its recorded state is used")
        return
    write_json(file, {"from": name, "digest": digest})


if __name__ == "__main__":
    STAGE.run(main)
