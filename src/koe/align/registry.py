"""Aligners by the names that `align.method` and `align.compare` give them."""

from pathlib import Path

from koe.align.aligner import Aligner, dtw_aligner
from koe.align.params import AlignParams
from koe.audio.params import MelParams


def aligner_of(method: str, mel_params: MelParams, params: AlignParams, factor: int, folder: Path) -> Aligner:
    """The aligner of that name; `folder` holds the trained ones, a folder each. Raises StoreError if one is missing."""
    if method == "dtw":
        return dtw_aligner(mel_params, params)
    from koe.align.neural import load_aligner, network_params  # PyTorch: DTW starts two seconds sooner without it

    return load_aligner(folder / method, network_params(method, params), mel_params, factor)
