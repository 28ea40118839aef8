"""A small corpus on disk, as the data stages leave it, and small vocoder parameters."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.small_vocoder import Corpus, small_params, write_corpus

from koe.tasks.conversion.schema import Params, load_params
from koe.vocoder.params import VocoderParams


@pytest.fixture()
def with_params(values: dict[str, Any]) -> Callable[..., Params]:
    """`with_params({"vocoder.training.batch_size": 3})`: small parameters with changes."""
    return lambda changes=None: small_params(values, changes)


@pytest.fixture()
def small(with_params: Callable[..., Params]) -> VocoderParams:
    """A vocoder that trains in seconds."""
    return with_params().vocoder


@pytest.fixture(scope="session")
def corpus(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """(dataset, items, generated mels) of five recordings."""
    return write_corpus(tmp_path_factory.mktemp("vocoder") / "data", load_params(root / "params.yaml").mel)
