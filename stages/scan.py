"""scan: what lies outside the project (recordings, and models to start from), so that a change there re-runs what
depends on it and nothing else.
"""

from pathlib import Path

from common import read_params, run
from revisions import find_model

from koe.corpus.scan import scan_corpus
from koe.errors import KoeError
from koe.files import read_json, write_json
from koe.tasks.conversion.model_kind import ACOUSTIC
from koe.training.references import ModelKind
from koe.vocoder.model_kind import VOCODER
from koe.workspace import work_root

FOLDER = Path("data/scan")


def initial_file(kind: ModelKind) -> Path:
    return FOLDER / f"{kind.section}.init.json"  # no corpus has a dot in its name


def scan_initial(kind: ModelKind, name: str | None) -> None:
    """Writes {"from", "digest"} of the model to start from; of one that is not here, what is recorded stays."""
    file = initial_file(kind)
    try:
        digest = find_model(kind, name).digest if name else None
    except KoeError:
        if not file.exists() or read_json(file)["from"] != name:
            raise
        print(f"{kind.section}.init.from: {name} is not here; its recorded state is used")
        return
    write_json(file, {"from": name, "digest": digest})


def main() -> None:
    corpora = read_params("corpora").corpora
    starts = {ACOUSTIC: read_params("acoustic.init").init, VOCODER: read_params("vocoder.init").init}
    for name, corpus in corpora.items():
        scan = scan_corpus(name, corpus, FOLDER, work_root() / "scan")
        print(f"{name}: {scan['files']} files, {scan['bytes'] / 2**20:.1f} MiB" if scan else
              f"{name}: no recordings at {corpus.path} here; its recorded state is used")
    for path in FOLDER.glob("*.json"):
        if path.stem not in corpora and path not in map(initial_file, starts):
            path.unlink()
    for kind, init in starts.items():
        scan_initial(kind, init.origin)


if __name__ == "__main__":
    run(main)
