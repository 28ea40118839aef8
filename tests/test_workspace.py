"""Where work/ is: of each pipeline, in the main checkout, also from a temporary one."""

from pathlib import Path

import pytest

from koe.workspace import main_checkout, project_root, work_root


@pytest.mark.parametrize("pipeline", [".", "pipelines/universal"])
@pytest.mark.parametrize("checkout", [".dvc/tmp/exps/tmpab", ".dvc/tmp/exps/standalone/tmpab",
                                      ".dvc/tmp/exps/verify-x/checkout"])
def test_temporary_checkouts_share_work_with_the_main_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pipeline: str, checkout: str
) -> None:
    monkeypatch.delenv("KOE_WORK", raising=False)
    for root in (tmp_path, tmp_path / checkout):
        (root / ".dvc").mkdir(parents=True, exist_ok=True)
        (root / pipeline).mkdir(parents=True, exist_ok=True)
    here = tmp_path / checkout / pipeline
    assert project_root(here) == tmp_path / checkout
    assert main_checkout(here) == main_checkout(tmp_path / pipeline) == (tmp_path / pipeline).resolve()
    assert work_root(here) == (tmp_path / pipeline).resolve() / "work"


def test_outside_of_a_project_the_folder_itself(tmp_path: Path) -> None:
    assert project_root(tmp_path) is None
    assert main_checkout(tmp_path) == tmp_path
