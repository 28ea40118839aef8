"""Tables of which a test cares about some columns only."""

from pathlib import Path

import pandas as pd

from koe.tables import Table

_FILLING = {str: "", int: 0, float: 0.0}


def write_filled(table: Table, folder: Path, frame: pd.DataFrame) -> None:
    """Writes `frame`; declared columns that it lacks hold no text, zeros, or nothing where that is allowed."""
    lacking = {name: _FILLING.get(kind) for name, kind in table.columns.items() if name not in frame}
    table.write(folder, frame.assign(**{name: pd.Series(value, frame.index) for name, value in lacking.items()}))
