"""One table of what every stage measured on the recordings, and one of the pairs' duration ratios.

`koe.report.checks` counts them and `koe.report.data_charts` draws them. Everything is vectorised: 100 000 utterances
take seconds.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from koe.corpus.dataset import Dataset
from koe.corpus.tables.resampled import RESAMPLED

OUTLIER = 3.0  # robust standard deviations from a direction's median
_DEVIATION_OF_MAD = 1.4826  # standard deviation over median absolute deviation, of a normal distribution
_SMALLEST_DEVIATION = 0.01  # of the median: if most ratios are equal, one frame more does not make an outlier
_MEASURED = ["native_rate", "clipped", "lufs", "noise_db", "digest", "channels", "downmix_db", "note"]  # by resample
_PITCH = ["frames", "voiced", "f0_median", "f0_low", "f0_high", "f0_pressed"]  # by the stage extract


def recordings_table(dataset: Dataset) -> pd.DataFrame:
    """All imported utterances, indexed by utterance; columns of stages that an utterance did not reach are NaN.

    Columns: `utterance`, `corpus`, `speaker` (`<corpus>/<speaker>`), `imported_seconds`, `sample_rate`, `format`,
    `letters` (of its text); `native_rate`, `clipped`, `lufs`, `noise_db`, `digest`, `channels`, `downmix_db`, `note`,
    `upsampled`; `trim_suspect`; `frames`, `voiced`, `f0_median`, `f0_low`, `f0_high`, `f0_pressed`, `kept`,
    `kept_seconds` (trimmed).
    """
    mel, imported = dataset.mel_params, dataset.utterances
    corpus = imported["utterance"].str.partition("/")[0]
    paths = [Path(dataset.data) / "resampled" / name for name in dataset.corpora]
    resampled = pd.concat([RESAMPLED.read(path) for path in paths]).set_index("utterance")
    resampled = resampled.reindex(columns=_MEASURED, index=imported.index)
    features = dataset.features.reindex(columns=_PITCH, index=imported.index)
    table = pd.DataFrame({
        "utterance": imported["utterance"], "corpus": corpus, "speaker": corpus + "/" + imported["speaker"],
        "imported_seconds": imported["seconds"], "sample_rate": imported["sample_rate"], "format": imported["format"],
        "letters": imported["text"].str.count(r"[^\W_]"),
        "upsampled": resampled["native_rate"] < mel.sample_rate,
        "trim_suspect": dataset.cuts["suspect"].reindex(imported.index).fillna(0) > 0,
        "kept": features["frames"].notna(),
        "kept_seconds": features["frames"] * mel.hop_length / mel.sample_rate,
    })
    return table.join(resampled).join(features)


def ratios_table(pairs: pd.DataFrame, recordings: pd.DataFrame) -> pd.DataFrame:
    """A row per pair: `pair`, `direction` (`<source speaker> → <target speaker>`), `ratio`, `distance`, `outlier`.

    `ratio`: the target's frames over the source's. `distance`: from the median of its direction. An outlier is further
    away than OUTLIER robust standard deviations (estimated from the median absolute deviation).
    """
    source, target = (recordings.loc[pairs[side]] for side in ("source", "target"))
    table = pd.DataFrame({
        "pair": pairs["pair"].to_numpy(),
        "direction": source["speaker"].to_numpy() + " → " + target["speaker"].to_numpy(),
        "ratio": target["frames"].to_numpy() / source["frames"].to_numpy(),
    })
    median = table.groupby("direction")["ratio"].transform("median")
    distance = (table["ratio"] - median).abs()
    deviation = _DEVIATION_OF_MAD * distance.groupby(table["direction"]).transform("median")
    deviation = np.maximum(deviation, _SMALLEST_DEVIATION * median)
    return table.assign(distance=distance, outlier=distance > OUTLIER * deviation)
