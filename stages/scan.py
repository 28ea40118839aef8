"""scan: the state of recordings and of models to start from outside the project, so that a change of theirs re-runs
the stages that depend on it and no others.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from koe.pipeline.stage import Stage, StageFiles, StageParameters
from koe.audio.grid import mel_contract
from koe.audio.params import MelParams
from koe.corpus.params import Corpora
from koe.corpus.scan import scan_corpus
from koe.errors import KoeError
from koe.files import read_json, write_json
from koe.params.reading import at, read_values
from koe.pipeline.loading import load_declaration
from koe.pipeline.models import find_model
from koe.terminal import show
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
        scan = scan_corpus(name, corpus, outputs.scan, work_root() / "scan")
        show(f"{name}: {scan['files']} files, {scan['bytes'] / 2**20:.1f} MiB" if scan else
             f"{name}: no recordings at {corpus.path} on this machine; its recorded state is used")
    starts = [ModelKind(training.section, training.card) for training in load_declaration().trainings if training.card]
    files = {kind: outputs.scan / f"{kind.section}.init.json" for kind in starts}  # no corpus has a dot in its name
    for path in outputs.scan.glob("*.json"):
        if path.stem not in params.corpora and path not in files.values():
            path.unlink()
    values = read_values()
    mel = mel_contract(MelParams.model_validate(values["mel"])) if "mel" in values else None
    for kind, file in files.items():
        scan_initial(kind, at(values, f"{kind.section}.init"), mel, file)


def scan_initial(kind: ModelKind, init: Mapping[str, Any], mel: Mapping[str, Any] | None, file: Path) -> None:
    """Writes {"from", "digest"} of the model to start from; if it is not on this machine, the recorded state stays.

    `mel`: the contract of the parameters. Raises ContractError if the model's card states another one and they must be
    the same: now, not after all recordings have been read.
    """
    name = init["from"]
    try:
        start = find_model(kind, name) if name else None
    except KoeError:
        if not file.exists() or read_json(file, f"remove {file}", ["from"])["from"] != name:
            raise
        show(f"{kind.section}.init.from: {name} is not on this machine; its recorded state is used")
        return
    if start and mel and init.get("strict", True) and isinstance(theirs := start.card.get("contract"), dict):
        start.require_contract(theirs, mel)
    write_json(file, {"from": name, "digest": start.digest if start else None})


if __name__ == "__main__":
    STAGE.run(main)
