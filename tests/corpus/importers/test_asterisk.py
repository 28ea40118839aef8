"""Asterisk's prompts: what is no speech is left out, and folders name what lies in them."""

from pathlib import Path

import av
import numpy as np
import pytest

from koe.errors import KoeError


@pytest.fixture()
def sounds(tmp_path: Path) -> Path:
    for name in ("vm-goodbye", "hello", "beep", "tt-monkeys", "silence/1", "digits/1", "letters/a", "digits/hello"):
        path = tmp_path / "sounds" / "en_US_f_Allison" / f"{name}.g722"
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("g722", rate=16000, layout="mono")
            frame = av.AudioFrame.from_ndarray(np.full((1, 16000), 1000, np.int16), "s16", "mono")
            frame.sample_rate = 16000
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return tmp_path / "sounds"


def test_all_that_is_spoken(sounds: Path, run) -> None:
    result = run("asterisk", sounds)
    assert set(result.table.index) == {f"allison/{name}" for name in (
        "vm-goodbye", "hello", "digits-1", "letters-a", "digits-hello")}
    assert set(result.table["seconds"]) == {1.0} and set(result.table["sample_rate"]) == {16000}
    assert result.quarantine == {}
    assert "CC BY-SA 3.0" in result.about["licence"] and result.about["language"] == "en"


def test_without_the_package(sounds: Path, run) -> None:
    (sounds / "en_US_f_Allison").rename(sounds / "es_MX_f_Allison")
    with pytest.raises(KoeError, match=r"corpora\.c\.path: looked for .*en_US_f_Allison.*holds .*es_MX_f_Allison"):
        run("asterisk", sounds)
