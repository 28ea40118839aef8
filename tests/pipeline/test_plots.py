"""`dvc plots` draws the curves and pictures of dvc.yaml, also where parameters leave some of them out."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from PIL import Image

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
ALWAYS = {
    "train_acoustic": ["learning_rate", "validation/mcd_db"] + [
        f"{kind}/{part}" for kind in ("train", "validation", "validation_teacher_forced")
        for part in ("mel", "postnet", "duration", "pitch", "energy")],
    "finetune_vocoder": ["learning_rate", "train/mel", "train/gradient_norm", "validation/mel", "validation/stft",
                         "validation/log_f0_rmse", "validation/vuv_error"],
}
SOMETIMES = {"finetune_vocoder": ["train/stft", "train/adversarial", "validation/mos", "validation/pesq"]}


def write_curves(root: Path, curves: dict[str, list[str]]) -> None:
    for stage, names in curves.items():
        for name in names:
            path = root / "metrics" / stage / "plots/metrics" / f"{name}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"step\t{path.stem}\n3\t0.5\n6\t0.25\n")


def run(root: Path, *command: str) -> str:
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def least(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project that is the plots of dvc.yaml and the curves that every run has, committed."""
    root = tmp_path_factory.mktemp("plots") / "least"
    root.mkdir()
    run(root, "git", "init", "-q")
    run(root, sys.executable, "-m", "dvc", "init", "-q")
    shutil.copytree(ROOT / ".dvc/plots", root / ".dvc/plots")
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    (root / "dvc.yaml").write_text(yaml.safe_dump({"plots": plots}, sort_keys=False))
    write_curves(root, ALWAYS)
    run(root, "git", "add", "-A")
    run(root, "git", "-c", "user.name=Koe", "-c", "user.email=koe@example.org", "commit", "-qm", "curves")
    return root


@pytest.fixture(scope="module")
def shown(least: Path) -> tuple[list[dict], str]:
    return drawn(least, "show")


@pytest.fixture(scope="module")
def most(least: Path) -> Path:
    """The same project with every curve and two pictures."""
    root = shutil.copytree(least, least.parent / "most")
    write_curves(root, SOMETIMES)
    folder = root / "metrics/train_acoustic/plots/images/demo_en-003_heart-joe"
    folder.mkdir(parents=True)
    for step in (6, 3):
        Image.new("RGB", (4, 4)).save(folder / f"{step:08d}.png")
    return root


def drawn(root: Path, *command: str) -> tuple[list[dict], str]:
    """The Vega specifications, and the page, that a command of `dvc plots` makes without a complaint."""
    output = run(root, sys.executable, "-m", "dvc", "plots", *command, "-o", "drawn")
    assert re.fullmatch(r"file://\S+/index\.html\s*", output), output
    page = (root / "drawn/index.html").read_text()
    decoder = json.JSONDecoder()
    return [decoder.raw_decode(page, match.end())[0] for match in re.finditer("var spec = ", page)], page


def series(spec: dict) -> set[str]:
    return {row.get("filename", "") for row in spec["data"]["values"]}


def test_what_parameters_leave_out_is_not_missed(shown: tuple[list[dict], str]) -> None:
    specs, page = shown
    assert "<img" not in page
    labels = [spec["encoding"]["y"]["title"] for spec in specs if spec["title"]["text"] == "vocoder, validation"]
    assert labels == ["log_f0_rmse", "stft", "vuv_error"]


def test_lesson_02_training_and_validation_share_a_plot(shown: tuple[list[dict], str]) -> None:
    together = [spec for spec in shown[0] if len(series(spec)) > 1]
    assert len(together) == 6
    assert all({name.partition("/")[0] for name in series(spec)} >= {"train", "validation"} for spec in together)
    assert {_axis(spec) for spec in together} == {"log"}


def test_learning_rates_have_a_logarithmic_axis_and_distortion_a_linear_one(shown: tuple[list[dict], str]) -> None:
    axes = {spec["title"]["text"]: _axis(spec) for spec in shown[0]}
    assert axes["acoustic model, learning rate"] == axes["vocoder, learning rate"] == "log"
    assert axes["acoustic model, free-running validation"] == "linear"


def _axis(spec: dict) -> str:
    return spec["encoding"]["y"]["scale"].get("type", "linear")


def test_what_is_there_is_drawn_once_and_pictures_by_step(most: Path) -> None:
    specs, page = drawn(most, "show")
    assert re.findall(r'src="static/\S+_heart-joe_(\d+)\.png"', page) == ["00000003", "00000006"]
    drawings = [(spec["title"]["text"], spec["encoding"]["y"]["title"]) for spec in specs]
    assert len(set(drawings)) == len(drawings)
    assert {("vocoder, validation", "mos"), ("vocoder, training", "stft")} <= {*drawings}


def test_revisions_are_drawn_over_each_other(most: Path) -> None:
    specs, _ = drawn(most, "diff", "HEAD", "workspace")
    mcd = next(spec for spec in specs if spec["title"]["text"] == "acoustic model, free-running validation")
    assert {row["rev"] for row in mcd["data"]["values"]} == {"HEAD", "workspace"}
