"""The diary: what is written with a run is found again, by whatever name, and goes where the run goes."""

import datetime
from collections.abc import Callable
from pathlib import Path

import pytest

from koe.errors import KoeError
from koe.experiments.dvc import commit_of, git, run_of
from koe.experiments.notes import REFERENCE, notes_of, write_note

Keep = Callable[[str, str], str]


def texts(name: str) -> list[str]:
    return [note.text for note in notes_of(name)]


def test_notes_on_an_experiment_are_kept_in_order_and_by_all_its_names(commits: list[str], keep: Keep) -> None:
    keep("log-one", commits[2])
    assert notes_of("log/one") == []
    assert write_note("log/one", "buzzes  in\nthe second half") == "dvc exp push origin log-one"
    write_note("log-one", "koe: note: of ü and\ttab")
    for name in ("log/one", "log-one", str(commit_of("log-one"))):
        assert texts(name) == ["buzzes in the second half", "koe: note: of ü and tab"]
    note = notes_of("log-one")[0]
    assert (note.author, abs(note.date - datetime.date.today()).days <= 1) == ("Koe", True)
    assert str(note) == f"{note.date}, Koe: buzzes in the second half"


def test_a_note_changes_neither_what_a_run_holds_nor_when_it_was(
    commits: list[str], keep: Keep, monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2021-06-29T12:00:00+09:00")
    before = keep("flow", commits[2])
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    write_note("flow", "pitch overfits")
    run = run_of("flow")
    assert run is not None and run.baseline == commits[2]
    assert git("diff", before, run.commit) == []
    assert git("rev-parse", f"{run.commit}^") == [before]
    assert git("log", "-1", "--format=%cI", run.commit) == ["2021-06-29T12:00:00+09:00"]
    assert git("status", "--porcelain", "--untracked-files=no") == []


def test_notes_are_not_of_what_a_branch_goes_on_to_do(commits: list[str], keep: Keep) -> None:
    keep("flow", commits[2])
    write_note("flow", "better")
    git("checkout", "-q", "-b", "further", run_of("flow").commit)  # type: ignore[union-attr]
    assert texts("HEAD") == ["better"]
    git("commit", "-q", "--allow-empty", "-m", "another thing")
    assert texts("HEAD") == []


def test_a_revision_that_is_no_experiment_can_be_noted_too(commits: list[str], tmp_path: Path) -> None:
    assert write_note("HEAD~1", "the baseline") == f"git push origin {REFERENCE}"
    write_note(commits[1], "and again")
    assert texts("HEAD~1") == ["the baseline", "and again"]
    assert [*notes_of("HEAD"), *notes_of("workspace")] == []
    git("clone", "-q", str(tmp_path), "clone")
    git("fetch", "-q", "origin", f"{REFERENCE}:{REFERENCE}", folder=tmp_path / "clone")
    assert git("notes", f"--ref={REFERENCE}", "show", commits[1], folder=tmp_path / "clone")[0].endswith("the baseline")


@pytest.mark.parametrize(("name", "text", "message"), [
    ("HEAD", " \n", "the note is empty"),
    ("workspace", "better", "workspace cannot have a note"),
    ("nothing", "better", "nothing is neither"),
])
def test_what_cannot_be_noted_is_told(commits: list[str], name: str, text: str, message: str) -> None:
    with pytest.raises(KoeError, match=message):
        write_note(name, text)
