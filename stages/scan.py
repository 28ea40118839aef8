"""scan: what lies outside the project (recordings, and a model to start from), so that a change there re-runs what
depends on it and nothing else.
"""

from pathlib import Path

from common import read_params, run
from revisions import find_model

from koe.corpus.scan import scan_corpus
from koe.errors import KoeError
from koe.files import read_json, write_json
from koe.workspace import work_root

FOLDER = Path("data/scan")
INITIAL = FOLDER / "acoustic.init.json"  # no corpus has a dot in its name


def scan_initial(name: str | None) -> None:
    """Writes {"from", "digest"} of the model to start from; of one that is not here, what is recorded stays."""
    try:
        digest = find_model(name).digest if name else None
    except KoeError:
        if not INITIAL.exists() or read_json(INITIAL)["from"] != name:
            raise
        print(f"acoustic.init.from: {name} is not here; its recorded state is used")
        return
    write_json(INITIAL, {"from": name, "digest": digest})


def main() -> None:
    params = read_params("corpora", "acoustic.init")
    for name, corpus in params.corpora.items():
        scan = scan_corpus(name, corpus, FOLDER, work_root() / "scan")
        print(f"{name}: {scan['files']} files, {scan['bytes'] / 2**20:.1f} MiB" if scan else
              f"{name}: no recordings at {corpus.path} here; its recorded state is used")
    for path in FOLDER.glob("*.json"):
        if path != INITIAL and path.stem not in params.corpora:
            path.unlink()
    scan_initial(params.init.origin)


if __name__ == "__main__":
    run(main)
