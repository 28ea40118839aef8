"""The finished tiny project, and copies of it in which something goes wrong.

`Reference` is the project of tests/pipeline after an uninterrupted `dvc repro`, with the time that each stage took and
the hash of every file. A `Trial` is a copy at the beginning of one stage: that stage's outs, its entry in dvc.lock and
what only it has in DVC's cache are gone, so that `dvc repro` runs this stage and no other. Stages are equal to the bit
when run again (one thread), so a trial that ends well ends as the reference.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from pipeline.conftest import Project, make_project

ROOT = Path(__file__).resolve().parents[2]
OUTSIDE = (".git/", ".dvc/", "work/scan/", "dvc.lock")  # no results: work/scan remembers inodes, dvc.lock is read
ENDS = 300.0  # s that a command of the tiny project may take
DOCTOR = "koe doctor"  # what a command that failed may name as the way out


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a project that is a result or could be a leftover, by its path in the project."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith(OUTSIDE) and "__pycache__/" not in name:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def processes_in(folder: Path) -> list[int]:
    """Processes whose current folder is in `folder`, zombies left out."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inside = (process / "cwd").readlink().is_relative_to(folder)
            if inside and (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(int(process.name))
        except OSError:  # it ended, or is another user's
            continue
    return found


class Command:
    """A command in a process group of its own, as a shell starts it; its lines come with the time that they came at."""

    def __init__(self, project: Project, *command: str) -> None:
        self.name = " ".join(command)
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command, cwd=project.folder, env=project.environment, text=True, errors="replace",
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.lines: list[tuple[float, str]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._changed:
                self.lines.append((time.monotonic(), line.rstrip("\n")))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    @property
    def output(self) -> str:
        return "\n".join(line for _, line in self.lines)

    def wait_for(self, text: str, seconds: float = ENDS) -> bool:
        """Whether a line with `text` came before the command ended."""
        with self._changed:
            return self._changed.wait_for(
                lambda: any(text in line for _, line in self.lines) or not self._reader.is_alive(), seconds
            ) and any(text in line for _, line in self.lines)

    def goes_quiet(self, seconds: float) -> bool:
        """Waits until the command has ended, or has printed nothing for some seconds; whether it was the latter."""
        last = time.monotonic()
        while self.process.poll() is None:
            if self.lines:
                last = max(last, self.lines[-1][0])
            if time.monotonic() > last + seconds:
                return True
            time.sleep(0.2)
        return False

    def send(self, number: int, group: bool = True) -> bool:
        """Sends a signal to the whole group, or to the command alone. False if it had ended."""
        if self.process.poll() is not None:
            return False
        (os.killpg if group else os.kill)(self.process.pid, number)
        return True

    def end(self, seconds: float = ENDS) -> int | None:
        """The exit status, once the command has ended; None if it hangs, and it is killed then."""
        try:
            status: int | None = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
            self.send(signal.SIGKILL)
            self.process.wait()
        self._reader.join(2)  # an orphan may hold the pipe for longer
        return status


class Reference:
    """The finished project in `folder/project`, made there the first time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        record = self.folder / "reference.json"
        if not record.exists():
            _make(self.folder, record)
        self._record: dict[str, Any] = json.loads(record.read_text())
        if self._record["code"] != _code():
            raise SystemExit(f"{self.folder} was made by other code; remove it, or choose another folder by --project")

    @property
    def project(self) -> Path:
        return self.folder / "project"

    @property
    def seconds(self) -> dict[str, float]:
        """How long each stage took, with what DVC does after it, in the order in which they ran."""
        return dict(self._record["seconds"])

    @property
    def files(self) -> dict[str, str]:
        return dict(self._record["files"])

    @cached_property
    def lock(self) -> dict[str, Any]:
        """The stages in dvc.lock."""
        return dict(yaml.safe_load((self.project / "dvc.lock").read_text())["stages"])


def _make(folder: Path, record: Path) -> None:
    """Makes the project, runs it, and remembers what came out."""
    print(f"making the tiny project in {folder} …", flush=True)
    shutil.rmtree(folder / "project", ignore_errors=True)
    project = make_project(folder / "project")
    project.environment |= _variables(folder)
    command = Command(project, "dvc", "repro")
    if command.end(3600) != 0:
        raise SystemExit(f"dvc repro fails without any accident:\n{command.output[-4000:]}")
    began = [(moment, line.split("'")[1]) for moment, line in command.lines if line.startswith("Running stage")]
    ends = [*(moment for moment, _ in began[1:]), time.monotonic()]
    seconds = {name: round(end - start, 2) for (start, name), end in zip(began, ends, strict=True)}
    shutil.rmtree(folder / "project/.dvc/cache/runs", ignore_errors=True)  # which would spare a stage its second run
    record.write_text(json.dumps({"code": _code(), "seconds": seconds, "files": hashes(folder / "project")}, indent=2))


def _variables(folder: Path) -> dict[str, str]:
    """One thread, so that results are equal; nothing shared with other trials."""
    (folder / "tmp").mkdir(parents=True, exist_ok=True)
    return {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "TMPDIR": str(folder / "tmp"), "COLUMNS": "200",
            "PYTHONPATH": str(folder / "project/src")}


def _code() -> str:
    """A hash of everything that make_project copies."""
    total = hashlib.sha256()
    for name in ("src", "stages", "experiments", "pipelines", "params.yaml", "dvc.yaml"):
        path = ROOT / name
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and file.suffix in {".py", ".yaml", ".tsv", ".jinja", ".css", ".js"}:
                total.update(f"{file.relative_to(ROOT)}\0".encode() + file.read_bytes())
    return total.hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What was tried, and what came of it."""

    what: str
    problems: list[str]  # empty: survived
    doctor: int = 0  # times that koe doctor was needed, and the command that failed had named it
    unnamed: int = 0  # times that it was needed and had not been named
    waited: int = 0  # times that an orphan had to end first


@dataclass
class Trial:
    """A copy of the finished project in `slot/project`, and what was found out in it."""

    reference: Reference
    slot: Path
    problems: list[str] = field(default_factory=list)
    doctor: int = 0  # as in Outcome
    unnamed: int = 0
    waited: int = 0

    def __post_init__(self) -> None:
        for name in ("project", "tmp", "site-cache"):
            shutil.rmtree(self.slot / name, ignore_errors=True)
        shutil.copytree(self.reference.project, self.slot / "project", symlinks=True)
        self.project = Project(self.slot / "project")
        self.project.environment |= _variables(self.slot)

    @property
    def folder(self) -> Path:
        return self.project.folder

    def at_the_beginning_of(self, stage: str) -> None:
        """Takes the stage's outs away, and every trace that it has run."""
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())
        entry = self.reference.lock[stage]
        lock["stages"].pop(stage, None)
        (self.folder / "dvc.lock").write_text(yaml.safe_dump(lock, sort_keys=False))
        for out in entry["outs"]:
            path = self.folder / out["path"]
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        others = {name for other in lock["stages"].values() for name in self._objects(other)}
        for name in self._objects(entry) - others:
            self._object(name).unlink(missing_ok=True)

    def _object(self, name: str) -> Path:
        return self.folder / ".dvc/cache/files/md5" / name[:2] / name[2:]

    def _objects(self, entry: dict[str, Any]) -> set[str]:
        """Names in DVC's cache of what a stage wrote."""
        names = set()
        for out in entry.get("outs", []):
            names.add(out["md5"])
            if out["md5"].endswith(".dir") and self._object(out["md5"]).is_file():
                names |= {file["md5"] for file in json.loads(self._object(out["md5"]).read_text())}
        return names

    def outcome(self, what: str) -> Outcome:
        return Outcome(what, self.problems, self.doctor, self.unnamed, self.waited)

    def start(self, *command: str) -> Command:
        return Command(self.project, *command)

    def run(self, *command: str) -> tuple[int | None, str]:
        """Runs a command to its end; its status and what it printed. One that hangs or shows a traceback is a problem.
        """
        return self.end(self.start(*command))

    def end(self, running: Command) -> tuple[int | None, str]:
        """The same, of a command that runs already."""
        status = running.end()
        if status is None:
            self.problems.append(f"{running.name} hangs")
        self.watch(running.name, running.output)
        return status, running.output

    def watch(self, name: str, output: str) -> None:
        """A traceback in what a command printed is a problem."""
        if "Traceback (most recent call last)" in output:
            last = [line for line in output.splitlines() if line and not line.startswith((" ", "ERROR: failed to"))]
            self.problems.append(f"{name} shows a traceback: {last[-1] if last else ''}"[:300])

    def finish(self) -> None:
        """Runs `dvc repro` until it is done, doing what a user is told to do and nothing else, and compares."""
        for _ in range(6):
            status, output = self.run("dvc", "repro")
            if status == 0:
                return self.compare()
            if self._wait_for_orphans(output):
                continue
            if DOCTOR in output:
                self.doctor += 1
            elif self.unnamed == 0:
                self.unnamed += 1
            else:
                break
            if self.run(*DOCTOR.split())[0] != 0:
                break
        said = [line for line in output.splitlines() if line.strip()]
        self.problems.append("dvc repro does not recover: " + " / ".join(said[-2:])[:300])

    def _wait_for_orphans(self, output: str) -> bool:
        """Whether the command failed because a stage still runs; it has ended then."""
        if not processes_in(self.folder):
            return False
        self.waited += 1
        self.wait_for_quiet()
        return True

    def wait_for_quiet(self, seconds: float = ENDS) -> None:
        """Until no process works in the project."""
        end = time.monotonic() + seconds
        while remaining := processes_in(self.folder):
            if time.monotonic() > end:
                self.problems.append("processes stay for ever")
                for process in remaining:
                    os.kill(process, signal.SIGKILL)
                return
            time.sleep(0.2)

    def compare(self) -> None:
        """What differs from the reference is a problem: results, dvc.lock, leftovers, and damage in DVC's cache."""
        expected, found = self.reference.files, hashes(self.folder)
        for word, names in (("missing", expected.keys() - found.keys()), ("left over", found.keys() - expected.keys()),
                            ("different", {name for name in expected.keys() & found.keys()
                                           if expected[name] != found[name]})):
            if names:
                self.problems.append(f"{word}: {', '.join(sorted(names)[:5])}" + f" … {len(names)}" * (len(names) > 5))
        lock = yaml.safe_load((self.folder / "dvc.lock").read_text())["stages"]
        if different := [name for name in {*lock, *self.reference.lock} if _outs(lock, name) != _outs(
                self.reference.lock, name)]:
            self.problems.append(f"dvc.lock differs in {', '.join(sorted(different))}")
        for name in sorted(set().union(*map(self._objects, lock.values()))):
            path = self._object(name)
            if path.is_file() and hashlib.md5(path.read_bytes()).hexdigest() != name.removesuffix(".dir"):
                self.problems.append(f"DVC's cache holds a damaged object: {name}")


def _outs(lock: dict[str, Any], stage: str) -> Any:
    return {key: lock.get(stage, {}).get(key) for key in ("cmd", "outs", "params")}

