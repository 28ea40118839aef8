"""scan: what lies under each corpus' path, so that a change there re-runs that corpus' import and nothing else."""

from pathlib import Path

from common import read_params, run

from koe.corpus.scan import scan_corpus
from koe.workspace import work_root

FOLDER = Path("data/scan")


def main() -> None:
    corpora = read_params("corpora").corpora
    for name, params in corpora.items():
        scan = scan_corpus(name, params, FOLDER, work_root() / "scan")
        print(f"{name}: {scan['files']} files, {scan['bytes'] / 2**20:.1f} MiB" if scan else
              f"{name}: no recordings at {params.path} here; its recorded state is used")
    for path in FOLDER.glob("*.json"):
        if path.stem not in corpora:
            path.unlink()


if __name__ == "__main__":
    run(main)
