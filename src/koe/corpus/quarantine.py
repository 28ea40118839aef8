"""Every utterance that leaves the pipeline leaves a row here with its reason (lesson 23)."""

from collections import Counter
from pathlib import Path

import pandas as pd

from koe.errors import KoeError
from koe.tables import Table

QUARANTINE = Table("quarantine.csv", {
    "utterance": str,  # or a pair
    "stage": str,
    "reason": str,  # short and countable
    "detail": str,  # for a person
})


class Quarantine:
    """Collects exclusions of one stage and writes them, even if there are none, to `folder/quarantine.csv`."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self.rows: list[dict[str, str]] = []

    def add(self, utterance: str, reason: str, detail: str) -> None:
        """Excludes `utterance` (or a pair). `reason` is short and countable, `detail` is for a person."""
        self.rows.append({"utterance": utterance, "stage": self.stage, "reason": reason, "detail": detail})

    def __len__(self) -> int:
        return len(self.rows)

    def counts(self) -> dict[str, int]:
        """Number of rows by reason, the most frequent first."""
        return dict(Counter(row["reason"] for row in self.rows).most_common())

    def summary(self) -> str:
        """One line for a stage to print, e.g. `3 quarantined (clipping 2, too_short 1)`; empty if nothing is."""
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.counts().items())
        return f"{len(self)} quarantined ({reasons})" if reasons else ""

    def require_some(self, kept: int, folder: str | Path, advice: str) -> None:
        """Raises KoeError naming the most frequent reason if a stage that writes to `folder` kept nothing."""
        if kept:
            return
        example = next((row["detail"] for row in self.rows if row["reason"] == next(iter(self.counts()))), "")
        raise KoeError(f"{self.stage}: nothing is left to continue with; {self.summary() or 'the input was empty'}, "
                       f"e.g. {example or 'none'}\n{advice}; the whole list is {Path(folder) / QUARANTINE.file}")

    def write(self, folder: str | Path) -> None:
        QUARANTINE.write(folder, pd.DataFrame(self.rows, columns=list(QUARANTINE.columns)))


def read_quarantine(folders: list[Path]) -> pd.DataFrame:
    """All quarantine rows under `folders`, in their order."""
    tables = [QUARANTINE.read(folder) for folder in folders]
    return pd.concat(tables, ignore_index=True) if tables else QUARANTINE.empty()
