"""What a user named is judged before work begins: inputs and existing files survive."""

import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from koe import destinations
from koe.destinations import PAGE_MARK, Guard, check_distinct, check_page, filling
from koe.errors import KoeError


def test_an_input_is_no_destination_by_any_name(tmp_path: Path) -> None:
    recording = tmp_path / "a.wav"
    recording.write_text("speech")
    (tmp_path / "sub").mkdir()
    os.link(recording, tmp_path / "hard.wav")
    (tmp_path / "soft.wav").symlink_to("a.wav")
    (tmp_path / "folder").symlink_to(tmp_path)
    guard = Guard([recording], overwrite=True)
    names = ("a.wav", "sub/../a.wav", "hard.wav", "soft.wav", "folder/a.wav")
    for name in names:
        with pytest.raises(KoeError, match="is an input of this command"):
            guard.check(tmp_path / name)
    with pytest.raises(KoeError, match="is an input"):
        Guard([tmp_path / "soft.wav"], overwrite=True).check(recording)
    guard.check(tmp_path / "b.wav")


def test_an_existing_file_is_replaced_only_if_asked(tmp_path: Path) -> None:
    (tmp_path / "out.wav").write_text("old")
    (tmp_path / "dangling.wav").symlink_to("nowhere")
    for name in ("out.wav", "dangling.wav"):
        with pytest.raises(KoeError, match=rf"{name} exists already.*--overwrite"):
            Guard().check(tmp_path / name)
        Guard(overwrite=True).check(tmp_path / name)


def test_folders_and_pipes_are_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for path, message in ((tmp_path, "is a folder"), (tmp_path / "pipe.wav", "not an ordinary file")):
        with pytest.raises(KoeError, match=message):
            Guard(overwrite=True).check(path)


@pytest.mark.parametrize("name, message", [
    ("x" * 252 + ".wav", "too long for a file's name: 256 bytes"), ("声" * 86, "258 bytes"),
    ("/".join(["x" * 200] * 30), "too long"), ("a\0b.wav", "NUL"), ("file/sub/a.wav", "file is a file"),
])
def test_a_place_that_cannot_be_is_told(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KoeError, match=message):
        Guard().check(tmp_path / name)
    Guard().check(tmp_path / "new" / "folder" / ("x" * 251 + ".wav"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_folder_in_which_nothing_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(dir: Path) -> None:
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(KoeError, match=r"new: nothing can be written there .*Permission denied"):
        Guard().check(tmp_path / "new" / "a.wav")


def test_names_that_would_be_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_distinct([tmp_path / name for name in ("a.wav", "A.wav", "b.wav")])
    for names in (("a.wav", "a.wav"), ("caf\u00e9.wav", "cafe\u0301.wav")):
        with pytest.raises(KoeError, match="occur twice"):
            check_distinct([tmp_path / name for name in names])
    monkeypatch.setattr(destinations, "_folds_case", lambda folder: True)
    with pytest.raises(KoeError, match=r"A\.wav, a\.wav"):
        check_distinct([tmp_path / name for name in ("a.wav", "A.wav", "b.wav")])


def test_files_that_belong_together_are_written_all_or_none(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "set"
    with pytest.raises(RuntimeError), filling(folder, ["weights", "card"]) as temporary:
        (temporary / "weights").write_text("half")
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with filling(folder, ["weights", "sub/more", "card"]) as temporary:
        (temporary / "sub").mkdir()
        for name in ("weights", "sub/more", "card"):
            (temporary / name).write_text("first")
    assert sorted(path.name for path in folder.iterdir()) == ["card", "sub", "weights"]
    (folder / "mine").write_text("kept")
    with pytest.raises(KoeError, match="weights exists already"), filling(folder, ["weights"]):
        raise AssertionError("nothing is to be done")
    with filling(folder, ["weights", "sub/more", "card"], overwrite=True) as temporary:
        (temporary / "card").write_text("second")
    assert {path.name: path.read_text() for path in folder.iterdir() if path.is_file()} == {
        "card": "second", "mine": "kept"}  # no weights of the first set beside the second's card


def test_a_page_of_koe_is_built_again_and_no_other(tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    check_page(page)
    page.write_text(f"<!doctype html><head>{PAGE_MARK}</head>")
    check_page(page)
    page.write_text("<!doctype html>my site")
    with pytest.raises(KoeError, match=r"index\.html exists already"):
        check_page(page)
    check_page(page, overwrite=True)


@pytest.mark.parametrize("command", [["page"], ["exp", "compare", "HEAD"]])
def test_koe_page_keeps_what_is_not_a_page_of_koe(command: list[str], tmp_path: Path, root: Path, monkeypatch: Any
                                                  ) -> None:
    from koe.cli import app

    (tmp_path / "index.html").write_text("my site")
    monkeypatch.chdir(root)
    result = CliRunner().invoke(app, [*command, "--output", str(tmp_path)])
    assert isinstance(result.exception, KoeError) and "index.html exists already" in str(result.exception)
    assert (tmp_path / "index.html").read_text() == "my site"
