"""The worst cuts at the ends of recordings: pictures and players of what was cut off."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from koe.audio.samples import to_int16
from koe.pipeline.declaration import PipelineFolder
from koe.report.clips import dataset_of, texts_of
from koe.report.drawing import audio_uri, number_text, waveform_svg

_TRIMS = 6  # on the page, if the parameters do not set it
_LOUDEST_GAIN_DB = 30.0


@dataclass(frozen=True)
class DrawnTrim:
    """An untrimmed recording with its row of trim.csv."""

    row: Mapping[Hashable, Any]
    text: str
    audio: np.ndarray  # int16 (samples,)


def load_trims(folder: PipelineFolder) -> list[DrawnTrim]:
    """The `report.trims` worst cuts: suspects first, then by the level of the loudest part that was cut off."""
    dataset = dataset_of(folder)
    cuts, texts = dataset.cuts, texts_of(dataset)
    loudest = cuts[["outside_head_db", "outside_tail_db"]].max(axis=1)
    worst = cuts.assign(loudest=loudest).sort_values(["suspect", "loudest"], ascending=False, kind="stable")
    drawn = []
    for row in worst.head(folder.limit("trims", _TRIMS)).to_dict("records"):
        audio, _ = to_int16(dataset.untrimmed(row["utterance"]))
        drawn.append(DrawnTrim(row, texts[row["utterance"]], audio))
    return drawn


def draw_trims(trims: Sequence[DrawnTrim], rate: int) -> dict[str, Any]:
    """For trims.html.jinja."""
    return {"trims": [_trim(item, rate) for item in trims]}


def _trim(item: DrawnTrim, rate: int) -> dict[str, Any]:
    row, samples = item.row, len(item.audio)
    ends = {"head": (0, int(row["start"])), "tail": (int(row["end"]), samples)}
    cut = {end: span for end, span in ends.items() if span[1] > span[0]}
    label = f"Waveform of {row['utterance']}, kept from {row['start'] / rate:.2f} to {row['end'] / rate:.2f} s"
    return {
        "utterance": row["utterance"], "text": item.text, "suspect": bool(row["suspect"]), "why": row["why"],
        "audio": audio_uri(item.audio, rate), "seconds": samples / rate,
        "svg": waveform_svg(item.audio, list(cut.values()), label),
        "ends": [
            {"end": end, **_amplified(item.audio[start:stop], rate), "seconds": (stop - start) / rate,
             "level": number_text(row[f"outside_{end}_db"], 0), "voicing": number_text(row[f"voicing_{end}"], 2)}
            for end, (start, stop) in cut.items()
        ],
    }


def _amplified(audio: np.ndarray, rate: int) -> dict[str, Any]:
    """What was cut off, amplified, so that a piece of a word can be told from noise, and the gain in dB."""
    peak = max(float(np.abs(audio.astype(np.float64)).max()), 1.0)
    gain = min(16384 / peak, 10 ** (_LOUDEST_GAIN_DB / 20)) if peak < 16384 else 1.0
    return {"audio": audio_uri(np.round(audio * gain).astype(np.int16), rate), "gain": round(20 * np.log10(gain))}
