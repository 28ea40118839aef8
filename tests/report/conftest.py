"""A whole small project on disk, counted, for the tests of the report."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from support.fake_project import write_project
from support.parameters import PIPELINE

from koe.corpus.dataset import Dataset
from koe.files import write_json
from koe.pipeline.declaration import PipelineFolder
from koe.report.checks import count_data
from koe.tasks.conversion.schema import Params, check_params


@pytest.fixture(scope="session")
def report_params(root: Path) -> Params:
    return check_params(yaml.safe_load((root / "params.yaml").read_text()))


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, report_params: Params, voice: Any) -> Path:
    """The root of a finished project (tests/support/fake_project.py); to be read only."""
    folder = tmp_path_factory.mktemp("project")
    write_project(folder, report_params, voice)
    dataset = Dataset(["demo"], report_params.mel, folder / "data")
    write_json(folder / "metrics/data.json", count_data(dataset, report_params.speaker_pitch))
    return folder


@pytest.fixture(scope="session")
def folder(project: Path, report_params: Params) -> PipelineFolder:
    """The project as the folder of the root's pipeline."""
    return PipelineFolder(PIPELINE, report_params, project)
