"""What a model made of a few validation items while it was trained, by optimizer step: pictures, or players."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
from PIL import Image

from koe.corpus.pairing import read_pairs
from koe.pipeline.declaration import PipelineFolder
from koe.report.clips import Clip, clip_of, dataset_of, direction_of, players, spread, texts_of, trimmed_clip
from koe.report.drawing import picture_uri

_MOST_FOLLOWED, _MOST_STEPS = 4, 4  # items whose training is shown, and how often


@dataclass(frozen=True)
class FollowedItem:
    """A validation item, an utterance or a pair, and the files that were made of it by optimizer step."""

    pair: str
    direction: str  # who → whom; empty if it is no pair
    text: str
    recording: str  # the utterance that is to be reached
    files: Mapping[int, Path]


@dataclass(frozen=True)
class FollowedClips:
    """What was made of an item by optimizer step, and the recording that is to be reached."""

    item: FollowedItem
    made: Mapping[int, Clip]
    recording: Clip


def followed(folder: PipelineFolder, place: str, kind: str) -> Iterator[FollowedItem]:
    """The first few items of `place/<item, / as _>/<step>.<kind>`, and a few of their files, spread over the training
    run. No folder: none.
    """
    if not (folder.path / place).exists():
        return
    dataset = dataset_of(folder)
    texts, sides = texts_of(dataset), _sides(folder)
    names = {name.replace("/", "_"): name for name in sides}
    for series in sorted((folder.path / place).glob("*/"))[:_MOST_FOLLOWED]:
        name = names[series.name]
        source, target = sides[name]
        files = {int(file.stem): file for file in spread(sorted(series.glob(f"*.{kind}")), _MOST_STEPS)}
        yield FollowedItem(name, direction_of(source, target) if source else "", texts[target], target, files)


def _sides(folder: PipelineFolder) -> dict[str, tuple[str, str]]:
    """Source and target by pair; where items are not pairs, nothing and the utterance by utterance."""
    where = folder.pipeline.evaluation.pairs
    if not where:
        return {name: ("", name) for name in dataset_of(folder).utterances.index}
    pairs = read_pairs(folder.path / where)
    return dict(zip(pairs["pair"], zip(pairs["source"], pairs["target"], strict=True), strict=True))


def load_clips(folder: PipelineFolder, place: str) -> list[FollowedClips]:
    """FLAC files of `place`, with the recordings that they are to be like."""
    mel_params, loaded = folder.params.mel, []
    for item in followed(folder, place, "flac"):
        made = {step: clip_of(soundfile.read(file, dtype="int16")[0], mel_params) for step, file in item.files.items()}
        loaded.append(FollowedClips(item, made, trimmed_clip(dataset_of(folder), item.recording)))
    return loaded


def load_pictures(folder: PipelineFolder, place: str, anchor: str, heading: str, note: str) -> dict[str, Any] | None:
    """For pictures.html.jinja: PNG files of `place`, on one time scale. None if there are none."""
    items = [_pictures(item) for item in followed(folder, place, "png")]
    return {"anchor": anchor, "heading": heading, "note": note, "place": place, "items": items} if items else None


def _pictures(item: FollowedItem) -> dict[str, Any]:
    """Widths are in per cent of the widest."""
    pictures = {step: file.read_bytes() for step, file in item.files.items()}
    widths = {step: Image.open(io.BytesIO(picture)).width for step, picture in pictures.items()}
    return {"pair": item.pair, "direction": item.direction, "text": item.text, "pictures": [
        {"step": step, "uri": picture_uri(picture), "width": 100 * widths[step] / max(widths.values())}
        for step, picture in pictures.items()]}


def load_players(
    folder: PipelineFolder, place: str, anchor: str, heading: str, note: str, maker: str
) -> dict[str, Any] | None:
    """For players.html.jinja: players in the order of the steps, and the recording last. None if there are none.

    maker: what made them, for those who listen to the page's labels.
    """
    items = [_players(item, folder.params.mel.sample_rate) for item in load_clips(folder, place)]
    return {"anchor": anchor, "heading": heading, "note": note, "place": place, "maker": maker,
            "items": items} if items else None


def _players(clips: FollowedClips, rate: int) -> dict[str, Any]:
    labels = [*(f"{step} steps" for step in clips.made), "recording"]
    drawn = players([*clips.made.values(), clips.recording], rate)
    return {"pair": clips.item.pair, "direction": clips.item.direction, "text": clips.item.text,
            "players": [{**player, "label": label} for label, player in zip(labels, drawn, strict=True)]}
