"""Output of a model on a few validation items during its training, by optimizer step: pictures, or players."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from koe.corpus.pairing import read_pairs
from koe.files import require_regular, understood
from koe.names import file_name
from koe.pipeline.declaration import PipelineFolder
from koe.report.clips import Clip, clip_of, dataset_of, direction_of, players, spread, texts_of, trimmed_clip
from koe.report.drawing import picture_uri

_AGAIN = "remove it, or run dvc repro"
_MOST_FOLLOWED, _MOST_STEPS = 4, 4  # items on the page, and steps of each


@dataclass(frozen=True)
class FollowedItem:
    """A validation item, an utterance or a pair, and the model's output for it as files."""

    pair: str
    direction: str  # source speaker → target speaker; empty if the item is not a pair
    text: str
    recording: str  # the utterance that the output should match
    files: Mapping[int, Path]  # by optimizer step


@dataclass(frozen=True)
class FollowedClips:
    """The model's output for an item as clips."""

    item: FollowedItem
    made: Mapping[int, Clip]  # by optimizer step
    recording: Clip  # what the output should match


def followed(folder: PipelineFolder, place: str, kind: str) -> Iterator[FollowedItem]:
    """The first few items of `place/<file_name of the item>/<step>.<kind>`, and a few of their files, spread over the
    training run. Items that the pairs no longer have are left out; without the folder there are none.
    """
    if not (folder.path / place).exists():
        return
    dataset = dataset_of(folder)
    texts, sides = texts_of(dataset), _sides(folder)
    names = {file_name(name): name for name in sides}
    present = [series for series in sorted((folder.path / place).glob("*/")) if series.name in names]
    for series in present[:_MOST_FOLLOWED]:
        name = names[series.name]
        source, target = sides[name]
        files = {int(file.stem): file for file in spread(sorted(series.glob(f"*.{kind}")), _MOST_STEPS)}
        yield FollowedItem(name, direction_of(source, target) if source else "", texts[target], target, files)


def _sides(folder: PipelineFolder) -> dict[str, tuple[str, str]]:
    """Source and target by pair; if items are utterances and not pairs, the source is empty."""
    pairs_folder = folder.pipeline.evaluation.pairs
    if not pairs_folder:
        return {name: ("", name) for name in dataset_of(folder).utterances.index}
    pairs = read_pairs(folder.path / pairs_folder)
    return dict(zip(pairs["pair"], zip(pairs["source"], pairs["target"], strict=True), strict=True))


def load_clips(folder: PipelineFolder, place: str) -> list[FollowedClips]:
    """FLAC files of `place`, with the recordings that they should match."""
    mel_params, loaded = folder.params.mel, []
    for item in followed(folder, place, "flac"):
        made = {step: clip_of(_samples(file), mel_params) for step, file in item.files.items()}
        loaded.append(FollowedClips(item, made, trimmed_clip(dataset_of(folder), item.recording)))
    return loaded


def _samples(file: Path) -> np.ndarray:
    """A recording, int16 (samples,). Raises StoreError naming the file if it is damaged."""
    with understood(file, _AGAIN):
        return soundfile.read(require_regular(file), dtype="int16")[0]


def load_pictures(folder: PipelineFolder, place: str, anchor: str, heading: str, note: str) -> dict[str, Any] | None:
    """For pictures.html.jinja: PNG files of `place`, on one time scale. None if there are none."""
    items = [_pictures(item) for item in followed(folder, place, "png")]
    return {"anchor": anchor, "heading": heading, "note": note, "place": place, "items": items} if items else None


def _pictures(item: FollowedItem) -> dict[str, Any]:
    """An item for the template. Widths are in per cent of the widest picture."""
    pictures, widths = {}, {}
    for step, file in item.files.items():
        with understood(file, _AGAIN):
            pictures[step] = require_regular(file).read_bytes()
            widths[step] = Image.open(io.BytesIO(pictures[step])).width
    return {"pair": item.pair, "direction": item.direction, "text": item.text, "pictures": [
        {"step": step, "uri": picture_uri(picture), "width": 100 * widths[step] / max(widths.values())}
        for step, picture in pictures.items()]}


def load_players(
    folder: PipelineFolder, place: str, anchor: str, heading: str, note: str, maker: str
) -> dict[str, Any] | None:
    """For players.html.jinja: players in the order of the steps, and the recording last. None if there are none.

    maker: what made the audio; part of the labels for screen readers.
    """
    items = [_players(item, folder.params.mel.sample_rate) for item in load_clips(folder, place)]
    return {"anchor": anchor, "heading": heading, "note": note, "place": place, "maker": maker,
            "items": items} if items else None


def _players(clips: FollowedClips, rate: int) -> dict[str, Any]:
    labels = [*(f"{step} steps" for step in clips.made), "recording"]
    drawn = players([*clips.made.values(), clips.recording], rate)
    return {"pair": clips.item.pair, "direction": clips.item.direction, "text": clips.item.text,
            "players": [{**player, "label": label} for label, player in zip(labels, drawn, strict=True)]}
