"""A stage whose DVC is killed ends too, and leaves nothing half written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

CHILD = """
    import sys, time
    from pathlib import Path
    from koe.files import replacing
    from koe.pipeline.parent import end_with_parent
    from koe.pipeline.stage import Stage, StageFiles, StageParameters

    class Parameters(StageParameters):
        pass

    class Files(StageFiles):
        out: Path = Path("out/file.txt")

    def main(params, inputs, outputs):
        with replacing(outputs.out) as temporary:
            temporary.write_text("half")
            time.sleep(100)

    Stage("slow", "waits", Parameters, Files, Files).run(main)
"""
PARENT = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"


@pytest.mark.parametrize("shell", [[], ["/bin/sh", "-c", "x=1; {python} slow.py; exit $?"]], ids=["direct", "shell"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_stage_ends_with_its_dvc(tmp_path: Path, shell: list[str], number: int) -> None:
    (tmp_path / "slow.py").write_text(dedent(CHILD))
    (tmp_path / "params.yaml").write_text("{}\n")
    command = [part.format(python=sys.executable) for part in shell] or [sys.executable, "slow.py"]
    with (tmp_path / "log").open("w") as log:
        parent = subprocess.Popen([sys.executable, "-c", PARENT, *command], cwd=tmp_path, stderr=log,
                                  env={**os.environ, "DVC_STAGE": "slow"})
    assert _comes_true(lambda: list(tmp_path.glob("out/.koe-*")))
    parent.send_signal(number)
    parent.wait()
    assert _comes_true(lambda: not list(tmp_path.glob("out/*")) and not list(tmp_path.glob("out/.*")))
    assert _comes_true(lambda: (tmp_path / "log").read_text().count("\n") == 2)
    told, ended = (tmp_path / "log").read_text().splitlines()
    assert f"(process {parent.pid}) was killed" in told and "slow.py: interrupted; dvc repro" in ended


def _comes_true(condition: object, seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
