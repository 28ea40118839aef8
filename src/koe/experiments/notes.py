"""Notes: lines that are kept with an experiment, and travel with it.

A note on an experiment is a commit on the experiment's own git reference that contains only the line, its author and
its date. So `dvc exp push` and `pull` carry it, `dvc exp apply` leaves it alone, and a branch made from the experiment
has it in its history. (In a tracked file the next `dvc exp apply` would undo it, and `dvc exp push` would leave it
behind.) The notes on other revisions are git notes, in refs/notes/koe.
"""

import datetime
from itertools import takewhile
from typing import NamedTuple

from koe.errors import KoeError
from koe.experiments.dvc import RunReference, commit_of, git, run_of

REFERENCE = "refs/notes/koe"

_SUBJECT = "koe: note: "


class Note(NamedTuple):
    """A note."""

    date: datetime.date
    author: str
    text: str

    def __str__(self) -> str:
        return f"{self.date}, {self.author}: {self.text}"


def write_note(name: str, text: str) -> str:
    """Adds a note to an experiment or a git revision; returns the command that shares it.

    Raises KoeError if there is nothing of that name, if it is the workspace, or if the note is empty.
    """
    line = " ".join(text.split())
    if not line:
        raise KoeError(f'koe exp note {name}: the note is empty; write koe exp note {name} "what was found"')
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
    """The notes on an experiment, given by name or commit, or on a git revision; the oldest first.

    Raises KoeError if there is nothing of that name.
    """
    commit = commit_of(name)
    if commit is None:
        return []
    history = [line.split("\t", 3) for line in git("log", "--first-parent", "--format=%H%x09%as%x09%an%x09%s", commit)]
    written = list(takewhile(lambda entry: entry[3].startswith(_SUBJECT), history))
    ran, date, *_ = history[len(written)]
    lines = [_parsed(line, date) for line in _annotations(ran)]
    lines += [[date, author, subject.removeprefix(_SUBJECT)] for _, date, author, subject in reversed(written)]
    return [Note(datetime.date.fromisoformat(date), author, text) for date, author, text in lines]


def _annotations(commit: str) -> list[str]:
    """The lines of the git notes on a commit."""
    try:
        return [line for line in git("notes", f"--ref={REFERENCE}", "show", commit) if line]
    except KoeError:
        return []


def _parsed(line: str, ran: str) -> list[str]:
    """Date, author and text of a line. One that git notes wrote without Koe is of the commit's date, by somebody."""
    date, _, rest = line.partition("\t")
    author, tab, text = rest.partition("\t")
    try:
        datetime.date.fromisoformat(date)
    except ValueError:
        tab = ""
    return [date, author, text] if tab else [ran, "somebody", line]


def _commit_note(run: RunReference, line: str) -> None:
    """Moves the experiment's reference on to a new commit with the line.

    Its committer date is the time of the run, because `dvc exp show` sorts by that date and calls it Created.
    """
    ran, = git("log", "-1", "--format=%cI", run.commit)
    commit, = git("commit-tree", f"{run.commit}^{{tree}}", "-p", run.commit, "-m", _SUBJECT + line,
                  variables={"GIT_COMMITTER_DATE": ran})
    git("update-ref", run.reference, commit, run.commit)
