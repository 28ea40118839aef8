"""What a user calls a run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from koe.errors import KoeError
from koe.experiments.dvc import commit_of, dvc, dvc_aloud, git, run_of, run_references

Keep = Callable[[str, str], str]


def test_experiments_revisions_and_the_workspace_are_found(commits: list[str], keep: Keep) -> None:
    flow, one = keep("flow", commits[2]), keep("log-one", commits[1])
    git("tag", "v1.0.0", commits[0])
    git("update-ref", "refs/exps/celery/stash", commits[0])
    assert [run.name for run in run_references()] == ["flow", "log-one"]
    found = [commit_of(name) for name in ("workspace", "flow", "log/one", "log-one", "v1.0.0", "HEAD", commits[1][:9])]
    assert found == [None, flow, one, one, commits[0], commits[2], commits[1]]
    assert git("rev-parse", run_references()[1].reference) == [one]
    assert run_of("v1.0.0") is None


def test_of_one_name_the_experiment_nearest_to_head_is_found(commits: list[str], keep: Keep) -> None:
    keep("flow", commits[0])
    nearest = keep("flow", commits[1])
    assert commit_of("flow") == nearest
    git("checkout", "-q", commits[0])
    assert commit_of("flow") != nearest


def test_of_one_name_none_of_this_branch_the_revisions_are_told(commits: list[str], keep: Keep) -> None:
    two = {baseline: keep("flow", baseline) for baseline in commits[1:]}
    git("checkout", "-q", commits[0])
    with pytest.raises(KoeError, match="none of them in this branch.*" + ".*".join(
            commit[:7] for _, commit in sorted(two.items()))):
        commit_of("flow")


@pytest.mark.parametrize(("name", "message"), [
    ("nothing", "nothing is neither an experiment that was run.*Existing runs: flow"),
    ("log/two", "experiments/log/two.yaml was not run here.*dvc exp pull origin log-two.*Existing runs: flow"),
    ("--all", "--all is neither"),
])
def test_what_is_no_run_is_told(commits: list[str], keep: Keep, name: str, message: str) -> None:
    keep("flow", commits[2])
    with pytest.raises(KoeError, match=message):
        commit_of(name)


def test_what_git_and_dvc_say_is_in_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(KoeError, match=r"git rev-list HEAD: .*not a git repository"):
        git("rev-list", "HEAD")
    with pytest.raises(KoeError, match=r"dvc exp list: .*not inside of a DVC repository"):
        dvc("exp", "list")


def test_a_command_that_prints_itself_ends_with_its_status(tmp_path: Path) -> None:
    assert (dvc_aloud("--version", folder=tmp_path), dvc_aloud("status", folder=tmp_path)) == (0, 253)
