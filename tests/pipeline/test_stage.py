"""What a stage script declares reaches its main, typed and checked, and becomes its entry in dvc.yaml."""

import errno
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import yaml

from koe.pipeline.stage import Stage
from koe.errors import KoeError
from koe.files import replacing
from koe.pipeline.writing import END, dvc_yaml, pipeline_folders, read_stage, write_dvc_yaml

DECLARATION = """
    from koe.params.section import Section
    from koe.pipeline.declaration import Pipeline

    class Part(Section):
        size: int

        def contradictions(self, name):
            if self.size == 13:
                yield f"{name}.size: 13; nobody wants it"

    class Params(Section):
        corpora: dict[str, Part]
        part: Part

    PIPELINE = Pipeline(params=Params, stages=("stages/count.py",))
"""
SCRIPT = """
    from koe.pipeline.stage import Stage, StageFiles, StageParameters
    from pathlib import Path
    from pydantic import Field
    from koe.randomness import seed_for

    class Parameters(StageParameters):
        size: int = Field(alias="part.size")
        other: int = Field(alias="corpora.${key}.size")

    class Inputs(StageFiles):
        table: Path = Path("data/in/${key}")

    class Outputs(StageFiles):
        count: Path = Path("data/out/${key}")

    STAGE = Stage("count", "counts", Parameters, Inputs, Outputs, per_corpus=True)

    def main(params, inputs, outputs, corpus):
        print(params.size, params.other, inputs.table, outputs.count, corpus)

    if __name__ == "__main__":
        STAGE.run(main)
"""


@pytest.fixture()
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {"pipeline.py": DECLARATION, "count.py": SCRIPT}.items():
        path = tmp_path / "stages" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(dedent(text))
    (tmp_path / "params.yaml").write_text("corpora: {ann: {size: 7}}\npart: {size: 3}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(project: Path, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["stages/count.py", *arguments])
    namespace: dict[str, Any] = {"__name__": "count"}
    exec((project / "stages/count.py").read_text(), namespace)
    namespace["STAGE"].run(namespace["main"])


def test_main_gets_what_is_declared(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(project, "ann", monkeypatch=monkeypatch)
    assert capsys.readouterr().out == "3 7 data/in/ann data/out/ann ann\n"


@pytest.mark.parametrize("values, message", [
    ("corpora: {ann: {size: 7}}\npart: {size: 13}\n", "part.size: 13; nobody wants it"),
    ("corpora: {ann: {size: 13}}\npart: {size: 1}\n", "corpora.ann.size: 13; nobody wants it"),
    ("corpora: {ann: {size: 7}}\npart: {size: many}\n", "part.size: input should be a valid integer"),
    ("corpora: {ann: {size: 7}}\npart: {size: 1}\nparts: 2\n", "parts: no such parameter; this section has corpora"),
    ("corpora: {bob: {size: 7}}\npart: {size: 1}\n", "corpora.ann.size: missing"),
])
def test_the_whole_file_is_checked_before_any_work(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], values: str, message: str
) -> None:
    (project / "params.yaml").write_text(values)
    with pytest.raises(SystemExit) as ended:
        run(project, "ann", monkeypatch=monkeypatch)
    printed = capsys.readouterr()
    assert ended.value.code == 1 and message in printed.err and not printed.out


def test_an_error_does_not_act_on_the_terminal(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: Any) -> None:
        raise KoeError("rec/\x1b[2J.wav\r: damaged\nconvert it")

    monkeypatch.setattr(sys, "argv", ["count.py", "ann"])
    with pytest.raises(SystemExit):
        read_stage(Path("stages/count.py")).run(fail)
    assert capsys.readouterr().err == "count.py: rec/\\x1b[2J.wav\\r: damaged\nconvert it\n"


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_and_sigterm_are_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, status: int
) -> None:
    def interrupted(*_: object) -> None:
        with replacing(project / "data/half.txt"):
            signal.raise_signal(number)
            time.sleep(5)

    monkeypatch.setattr(sys, "argv", ["stages/count.py", "ann"])
    with pytest.raises(SystemExit) as ended:
        read_stage(project / "stages/count.py").run(interrupted)
    printed = capsys.readouterr().err
    assert ended.value.code == status and printed.count("\n") == 1 and "dvc repro runs it again" in printed
    assert list((project / "data").iterdir()) == []


@pytest.mark.parametrize("left, warned", [(3_000_000, True), (200_000_000, False)])
def test_little_room_for_dvc_is_said(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], left: int, warned: bool
) -> None:
    def write(_: object, __: object, outputs: Any, ___: object) -> None:
        outputs.count.mkdir(parents=True)
        (outputs.count / "shard").write_bytes(bytes(5_000_000))

    monkeypatch.setattr(sys, "argv", ["stages/count.py", "ann"])
    monkeypatch.setattr("koe.pipeline.stage.room", lambda _: left)
    read_stage(project / "stages/count.py").run(write)
    said = capsys.readouterr().err
    assert ("nearly full: 3 MB left, and DVC may need 22 to keep" in said) == warned and (warned or not said)


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_an_interruption_while_the_interpreter_ends_shows_nothing(project: Path, number: int, status: int) -> None:
    script = project / "stages/count.py"
    wait = "import threading, time; threading.Thread(target=time.sleep, args=(2,)).start(); print("
    script.write_text(script.read_text().replace("print(", wait))
    running = subprocess.Popen([sys.executable, "-u", "stages/count.py", "ann"], cwd=project, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert running.stdout is not None and running.stdout.readline()
    time.sleep(0.5)
    running.send_signal(number)
    assert (running.communicate(timeout=30)[1], running.returncode) == ("", status)


def test_a_full_disk_is_one_line_whoever_writes(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "metrics/curve.tsv")

    monkeypatch.setattr(sys, "argv", ["stages/count.py", "ann"])
    with pytest.raises(SystemExit) as ended:
        read_stage(project / "stages/count.py").run(write)
    printed = capsys.readouterr().err
    assert ended.value.code == 1 and printed.count("\n") == 1 and "metrics/curve.tsv" in printed and "full" in printed


def test_ctrl_c_while_a_stage_imports_is_one_line(project: Path) -> None:
    script = project / "stages/count.py"
    script.write_text(script.read_text().replace("from koe.randomness import seed_for",
                                                 "import signal; signal.raise_signal(signal.SIGINT)"))
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGINT and ended.stderr.count("\n") == 1 and "interrupted" in ended.stderr


def test_what_a_killed_run_left_beside_the_outputs_is_removed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for name in (f"out/.koe-{ended.pid}-abcdefgh", f"out/ann/.koe-{ended.pid}-abcdefgh.csv", "out/other.txt"):
        path = project / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    run(project, "ann", monkeypatch=monkeypatch)
    assert [path.name for path in (project / "data").rglob("*") if path.is_file()] == ["other.txt"]


def test_the_entry_is_plain_dvc(project: Path) -> None:
    entry = yaml.safe_load(dvc_yaml(project))["stages"]["count"]
    assert entry["foreach"] == "${corpora}"
    assert entry["do"] == {
        "desc": "counts", "cmd": "python stages/count.py ${key}", "params": ["part.size", "corpora.${key}.size"],
        "deps": ["data/in/${key}", "stages/count.py"], "outs": ["data/out/${key}"],
    }  # an installed Koe lies outside of the project, and is no dep


def test_what_is_kept_by_hand_stays(project: Path) -> None:
    path = write_dvc_yaml(project)
    path.write_text(path.read_text() + "\nmetrics:\n- metrics/summary.json\n")
    before = path.read_text()
    assert write_dvc_yaml(project).read_text() == before
    path.write_text(before.replace(END, ""))
    with pytest.raises(KoeError, match="kept by hand"):
        write_dvc_yaml(project)


def test_a_script_without_a_stage_is_named(project: Path) -> None:
    (project / "stages/count.py").write_text("STAGE = 1\n")
    with pytest.raises(KoeError, match=r"stages/count\.py: expected STAGE"):
        dvc_yaml(project)
    (project / "stages/count.py").unlink()
    with pytest.raises(KoeError, match=r"stages/count\.py does not exist"):
        dvc_yaml(project)


def test_pipelines_are_found(project: Path) -> None:
    other = project / "pipelines/other/stages"
    other.mkdir(parents=True)
    (project / "pipelines/notes").mkdir()
    (other / "pipeline.py").write_text(dedent(DECLARATION))
    assert pipeline_folders(project) == [project, project / "pipelines/other"]


def test_a_stage_is_what_a_script_declares(project: Path) -> None:
    assert isinstance(read_stage(project / "stages/count.py"), Stage)
