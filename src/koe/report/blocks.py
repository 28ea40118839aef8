"""Page sections that any pipeline can use. A pipeline that declares none gets DEFAULT.

Loaders are imported only when a page is built, because every command reads the declarations.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from koe.params.reading import flatten
from koe.pipeline.declaration import Block, PipelineFolder

_HERE = Path(__file__).parent


def _results(folder: PipelineFolder) -> Mapping[str, Any]:
    from koe.report.results import load_results

    return load_results(folder)


def _listening(folder: PipelineFolder) -> Mapping[str, Any] | None:
    from koe.report.listening import load_listening

    return load_listening(folder)


def _trainings(folder: PipelineFolder) -> Mapping[str, Any]:
    from koe.report.curves import load_trainings

    return load_trainings(folder)


def _trims(folder: PipelineFolder) -> Mapping[str, Any]:
    from koe.report.trims import draw_trims, load_trims

    return draw_trims(load_trims(folder), folder.params.mel.sample_rate)


def _quarantine(folder: PipelineFolder) -> Mapping[str, Any]:
    from koe.report.data import load_quarantine

    return load_quarantine(folder)


def _data(folder: PipelineFolder) -> Mapping[str, Any]:
    from koe.report.data import load_data

    return load_data(folder)


def _parameters(folder: PipelineFolder) -> Mapping[str, Any]:
    return {"parameters": dict(flatten(folder.values))}


RESULTS = Block("Results", "results", _HERE / "results.html.jinja", _results)
LISTEN = Block("Listen", "listen", _HERE / "listen.html.jinja", _listening)
TRAINING = Block("Training", "training", _HERE / "training.html.jinja", _trainings)
TRIMS = Block("Trims", "trims", _HERE / "trims.html.jinja", _trims)  # this and the next two need corpora
QUARANTINE = Block("Quarantine", "quarantine", _HERE / "quarantine.html.jinja", _quarantine)
DATA = Block("Data", "data", _HERE / "data.html.jinja", _data)
PARAMETERS = Block("Parameters", "parameters", _HERE / "parameters.html.jinja", _parameters)
DEFAULT = (RESULTS, LISTEN, TRAINING, PARAMETERS)


def pictures(anchor: str, place: str, heading: str, note: str) -> Block:
    """Pictures of validation items, drawn during training: `place/<file_name of the item>/<step>.png`. Left out without
    any.

    note: a sentence that says what they show.
    """
    def load(folder: PipelineFolder) -> Mapping[str, Any] | None:
        from koe.report.followed import load_pictures

        return load_pictures(folder, place, anchor, heading, note)

    return Block("Pictures", anchor, _HERE / "pictures.html.jinja", load)


def players(anchor: str, place: str, heading: str, note: str, maker: str) -> Block:
    """Audio of validation items, made during training: `place/<file_name of the item>/<step>.flac`. Otherwise as
    `pictures`.

    maker: what made it; part of the players' labels for screen readers.
    """
    def load(folder: PipelineFolder) -> Mapping[str, Any] | None:
        from koe.report.followed import load_players

        return load_players(folder, place, anchor, heading, note, maker)

    return Block("Players", anchor, _HERE / "players.html.jinja", load)
