"""The diary: lines that are kept with an experiment, and travel with it.

A note on an experiment is a commit on the experiment's own reference in git: nothing in it but the line, its author and
its date. So `dvc exp push` and `pull` carry it, `dvc exp apply` leaves it alone, and a branch made of the experiment
has it in its history. (In a tracked file it would be undone by the next `dvc exp apply`, and stay behind in
`dvc exp push`.) A revision that is no experiment has its notes in refs/notes/koe, where git keeps such things.
"""

import datetime
from itertools import takewhile
from typing import NamedTuple

from koe.errors import KoeError
from koe.experiments.dvc import RunReference, commit_of, git, run_of

REFERENCE = "refs/notes/koe"

_SUBJECT = "koe: note: "


class Note(NamedTuple):
    """A line of the diary."""

    date: datetime.date
    author: str
    text: str

    def __str__(self) -> str:
        return f"{self.date}, {self.author}: {self.text}"


def write_note(name: str, text: str) -> str:
    """Adds a line to the diary of an experiment or a git revision; returns the command that takes it to others.

    Raises KoeError if there is nothing of that name, if it is the workspace, or if the line is empty.
    """
    line = " ".join(text.split())
    if not line:
        raise KoeError(f'koe exp note {name}: the note is empty; koe exp note {name} "what was found"')
    if run := run_of(name):
        _commit_note(run, line)
        return f"dvc exp push origin {run.name}"
    commit = commit_of(name)
    if commit is None:
        raise KoeError("koe exp note: the workspace cannot have a note; name an experiment or a commit")
    author = git("var", "GIT_AUTHOR_IDENT")[0].partition(" <")[0]
    git("notes", f"--ref={REFERENCE}", "append", "-m", f"{datetime.date.today()}\t{author}\t{line}", commit)
    return f"git push origin {REFERENCE}"


def notes_of(name: str) -> list[Note]:
    """The notes on an experiment, by name or by commit, or on a git revision; the oldest first.

    Raises KoeError if there is nothing of that name.
    """
    commit = commit_of(name)
    if commit is None:
        return []
    history = [line.split("\t", 3) for line in git("log", "--first-parent", "--format=%H%x09%as%x09%an%x09%s", commit)]
    written = list(takewhile(lambda entry: entry[3].startswith(_SUBJECT), history))
    lines = _annotations(history[len(written)][0])
    lines += [[date, author, subject.removeprefix(_SUBJECT)] for _, date, author, subject in reversed(written)]
    return [Note(datetime.date.fromisoformat(date), author, text) for date, author, text in lines]


def _annotations(commit: str) -> list[list[str]]:
    """Date, author and text of what git keeps with a commit that is no experiment's."""
    try:
        return [line.split("\t", 2) for line in git("notes", f"--ref={REFERENCE}", "show", commit) if line]
    except KoeError:
        return []


def _commit_note(run: RunReference, line: str) -> None:
    """Moves the experiment's reference on to a commit that holds the line.

    It has the time of the run as the committer's, which `dvc exp show` sorts by and calls Created.
    """
    ran, = git("log", "-1", "--format=%cI", run.commit)
    commit, = git("commit-tree", f"{run.commit}^{{tree}}", "-p", run.commit, "-m", _SUBJECT + line,
                  variables={"GIT_COMMITTER_DATE": ran})
    git("update-ref", run.reference, commit, run.commit)
