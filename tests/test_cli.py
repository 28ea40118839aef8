"""What is common to all commands: errors and interruptions are one line and a status."""

import signal

import pytest
import typer

from koe import cli
from koe.errors import KoeError


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int, status: int
) -> None:
    app = typer.Typer()
    app.command()(lambda: signal.raise_signal(number))
    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr("sys.argv", ["koe"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == status
    assert capsys.readouterr().err == "koe: interrupted\n"


def test_an_error_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()

    @app.command()
    def fail() -> None:
        raise KoeError("params.yaml: missing")

    monkeypatch.setattr(cli, "app", app)
    monkeypatch.setattr("sys.argv", ["koe"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1 and capsys.readouterr().err == "koe: params.yaml: missing\n"
