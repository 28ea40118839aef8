"""Campaigns of what others bring: malformed recordings and lists among good ones, and hostile files."""

import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
import yaml
from pipeline.conftest import tiny_parameters
from support.faults import (
    ESCAPES,
    HTML,
    RATE,
    Malice,
    hostile_arrays,
    hostile_json,
    malformed_recordings,
    shows_control_codes,
    whole_recordings,
    yaml_tags,
)

from campaigns import forked
from campaigns.project import ROOT, Outcome, Reference
from koe.corpus.importers.folders import NOT_IN_TABLE
from koe.corpus.quarantine import QUARANTINE
from koe.corpus.tables.features import FEATURES
from koe.corpus.tables.utterances import UTTERANCES

GOOD = ("one", "two", "three")  # sentences of each speaker that nothing is wrong with
SPEAKERS = ("ann", "ben")
BAD = 6  # malformed recordings beside them in a trial
DATA_STAGES = ("scan", "import_corpus", "resample", "trim", "extract")


def tone(seconds: float, f0: float) -> np.ndarray:
    """A vowel-like tone with silent ends, float32 (samples,) at RATE."""
    moments = np.arange(round(seconds * RATE)) / RATE
    wave = sum(np.sin(2 * np.pi * f0 * harmonic * moments) / harmonic for harmonic in range(1, 20))
    wave = wave * np.minimum(1, np.minimum(moments, moments[::-1]) / 0.05) * 0.2
    return np.pad(wave, RATE // 5).astype(np.float32) + 1e-4 * np.random.default_rng(0).standard_normal(
        len(wave) + 2 * (RATE // 5)).astype(np.float32)


def pipeline_folder(folder: Path, corpus: dict[str, object]) -> Path:
    """A folder in which the data stages run on the corpus `mine`, whose recordings are in `folder`/rec."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "stages", folder / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    values = tiny_parameters(yaml.safe_load((ROOT / "params.yaml").read_text()))
    values["corpora"] = {"mine": {"importer": "folders", "path": "rec", "language": "en", "source": SPEAKERS[0],
                                  "target": SPEAKERS[1]} | corpus}
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    for number, (speaker, f0) in enumerate(zip(SPEAKERS, (120, 220), strict=True)):
        (folder / "rec" / speaker).mkdir(parents=True)
        for sentence in GOOD:
            soundfile.write(folder / "rec" / speaker / f"{sentence}.wav", tone(1.0 + 0.1 * number, f0), RATE)
    return folder


def recordings(reference: Reference, slot: Path, number: int, draw: np.random.Generator) -> Outcome:
    """Malformed recordings, odd entries and a malformed list among good recordings: import to extract, and convert."""
    lists = _lists(draw)
    list_name, content = lists[number % len(lists)]
    folder = pipeline_folder(slot / "mine", {"match": "table"} if list_name == "sentences.csv" else {})
    (folder / "rec" / list_name).write_bytes(content)
    every = list(malformed_recordings(whole_recordings(tone(1.0, 150)), draw))
    chosen = [every[index] for index in draw.choice(len(every), BAD, replace=False)]
    for index, (name, data) in enumerate(chosen):
        (folder / "rec" / SPEAKERS[index % 2] / name).write_bytes(data)
    odd = _odd_entry(folder / "rec" / SPEAKERS[0], number)
    what = f"{', '.join(name for name, _ in chosen)}; {odd}; {list_name} of {content[:30]!r}"
    problems: list[str] = []
    for script in DATA_STAGES:
        ended = forked.run(folder, f"stages/{script}.py", *([] if script == "scan" else ["mine"]))
        if ended.problem:
            problems.append(f"{script}: {ended.problem}")
        if ended.status and not ended.problem and list_name in ended.output:
            what += f"; the list is refused: {ended.output.strip()[-100:]}"
            (folder / "rec" / list_name).unlink()
            return Outcome(what, problems + _converted(reference, folder, chosen))
        if ended.status:
            return Outcome(what, [*problems, f"{script} refused all: {ended.output.strip()[-200:]}"])
    problems += _accounted(folder, chosen)
    return Outcome(what, problems + _converted(reference, folder, chosen))


def _accounted(folder: Path, chosen: list[tuple[str, bytes]]) -> list[str]:
    """What is missing: a good recording's features, or a row for a bad one."""
    problems = []
    done = set(FEATURES.read(folder / "data/features/mine")["utterance"])
    quarantine = QUARANTINE.read(folder / "data/corpus/mine")
    unlisted = set(quarantine.loc[quarantine["reason"] == NOT_IN_TABLE, "utterance"])  # as the list wants it
    good = {f"mine/{speaker}/{sentence}" for speaker in SPEAKERS for sentence in GOOD}
    if lost := good - done - unlisted:
        problems.append(f"good recordings are lost: {', '.join(sorted(lost))}")
    rows = set(UTTERANCES.read(folder / "data/corpus/mine")["utterance"])
    excluded = set(quarantine["utterance"])
    names = {f"mine/{SPEAKERS[index % 2]}/{Path(name).stem}" for index, (name, _) in enumerate(chosen)}
    if missing := names - rows - excluded:
        problems.append(f"no row for {', '.join(sorted(missing))}")
    return problems


def _converted(reference: Reference, folder: Path, chosen: list[tuple[str, bytes]]) -> list[str]:
    """Problems of `koe convert` of all of them together."""
    bad = [f"rec/{SPEAKERS[index % 2]}/{name}" for index, (name, _) in enumerate(chosen)]
    good = [f"rec/{SPEAKERS[0]}/{sentence}.wav" for sentence in GOOD]
    ended = forked.run(folder, "koe", "convert", *bad, *good, "out", "--models", str(reference.project / "models"))
    problems = [f"convert: {ended.problem}"] if ended.problem else []
    if lost := [name for name in GOOD if not list((folder / "out").glob(f"{name}.*"))]:
        problems.append(f"convert loses good recordings: {', '.join(lost)}: {ended.output.strip()[-200:]}")
    return problems


def _lists(draw: np.random.Generator) -> list[tuple[str, bytes]]:
    texts, table = b"one\tOne.\ntwo\tTwo.\n", b"file,sentence,text\nann/one.wav,one,One.\nben/one.wav,one,One.\n"
    damaged = [
        draw.bytes(200), b"\0" * 100, b"\xff\xfe" + texts.decode().encode("utf-16-le"), b"\xef\xbb\xbf" + texts,
        texts.replace(b"\n", b"\r\n"), texts.replace(b"One", "One\u2028\x85\x0b".encode()), b"\t\n", b"one\n",
        texts + b"three\t" + b"x" * 200_000 + b"\n", texts + b"one\tAgain.\n", b'one\t"a\nb"\n', HTML.encode(), b"",
        texts + f"three\t{ESCAPES}\n".encode(), texts + f"three\t{HTML}\n".encode(),
    ]
    tables = [
        draw.bytes(200), b"file,sentence\n", table.replace(b"One.", b'"One.\nTwo."'), table + b"../../x.wav,x,X\n",
        table + b"ann/one.wav,one,One.\n", table.replace(b",", b";"), table + b'ann/two.wav,"two,Two\n', b"",
        table + b"ann/two.wav,two,=1+1\x1b[31m\n", table + b"ann/" + b"x" * 300 + b".wav,x,X\n", table + b"a\0b,x,X\n",
    ]
    return [*(("texts.tsv", content) for content in damaged), *(("sentences.csv", content) for content in tables)]


def _odd_entry(folder: Path, number: int) -> str:
    """Makes an entry among the recordings that is no file; what it is."""
    makers: dict[str, Callable[[Path], object]] = {
        "fifo.wav": os.mkfifo, "loop.wav": lambda path: path.symlink_to(path),
        "device.wav": lambda path: path.symlink_to("/dev/zero"), "gone.wav": lambda path: path.symlink_to("nowhere"),
        "folder.wav": Path.mkdir, "x" * 240 + ".wav": lambda path: path.write_bytes(b"RIFF"),
        "a<b>&'\".wav": lambda path: path.write_bytes(b"RIFF"), "new\nline.wav": lambda path: path.write_bytes(b"RIFF"),
        "\x1b[31mred.wav": lambda path: path.write_bytes(b"RIFF"), "-n.wav": lambda path: path.write_bytes(b"RIFF"),
        "\udcff\udcfe.wav": lambda path: path.write_bytes(b"RIFF"), "up": lambda path: path.symlink_to(".."),
    }
    name = list(makers)[number % len(makers)]
    makers[name](folder / name)
    return repr(name[:20])


# Hostile files -------------------------------------------------------------------------------------------------------


class Hostile(NamedTuple):
    """Files that are written, and the command that reads them."""

    what: str
    files: dict[str, bytes]
    command: str
    refused: bool = True  # it must be


def hostile_cases(marker: Path) -> list[Hostile]:
    """All of them; `marker`: the folder that what runs would make."""
    cases = []
    call = pickle.dumps(Malice(marker))
    for name, text in yaml_tags(marker).items():
        content = text.encode("utf-8", "surrogateescape")
        cases += [
            Hostile(f"params.yaml: {name}", {"params.yaml": content}, "koe check-params"),
            Hostile(f"an experiment: {name}", {"experiments/hostile.yaml": content}, "koe exp show hostile"),
            Hostile(f"an experiment in the list: {name}", {"experiments/hostile.yaml": content}, "koe exp list", False),
            Hostile(f"config.yml: {name}", {"config.yml": content, "c.pkl": call, "s.npy": b""},
                    "koe vocoder import c.pkl config.yml imported --statistics s.npy"),
        ]
    mel = hostile_arrays(marker)
    for name, content in mel.items():
        cases += [Hostile(f"a mel: {name}", {"mel.npy": content}, "koe vocode mel.npy out.wav"),
                  Hostile(f"F0: {name}", {"f0.npy": content}, "koe vocode ../inputs/mel.npy out.wav --f0 f0.npy")]
    for name, content in hostile_json().items():
        card = {"metrics/evaluation.json": "koe summary", "config.json": "koe vocoder import g_1 config.json imported",
                "models/vocoder/vocoder.json": "koe vocode ../inputs/mel.npy out.wav --f0 ../inputs/f0.npy",
                "models/acoustic/model.json": "koe convert ../inputs/in.wav out.wav"}
        empty = name in ("an empty object", "nulls")  # an evaluation of nothing
        cases += [Hostile(f"{file}: {name}", {file: content, "g_1": b""}, command, not (empty and "metrics" in file))
                  for file, command in card.items()]
        cases.append(Hostile(f"metrics/data.json: {name}", {"metrics/data.json": content},
                             "koe check --metrics metrics"))
    sizes = b'{"resblock": "1", "upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4], '
    sizes += b'"upsample_initial_channel": %d, "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 3, 5]], '
    sizes += b'"num_mels": 80, "n_fft": 1024, "hop_size": 256, "win_size": 1024, "sampling_rate": 22050, "fmin": 0, '
    sizes += b'"fmax": 8000, "segment_size": 8192, "learning_rate": 0.0002}'
    for name, content in {"a pickle": call, "a pickle in an archive": _saved(Malice(marker)), "marks": b"((((((.",
                          "text": b"no checkpoint", "nothing": b"", "a list": _saved([1, 2])}.items():
        cases.append(Hostile(f"a generator: {name}", {"g_1": content, "config.json": sizes % 32},
                             "koe vocoder import g_1 config.json imported"))
    cases.append(Hostile("a generator of a billion channels", {"g_1": _saved({"generator": {}}),
                                                               "config.json": sizes % 10**9},
                         "koe vocoder import g_1 config.json imported"))
    purpose = yaml.safe_dump({"purpose": f"{ESCAPES} {HTML}", "parameters": {"acoustic.training.steps": 1000}})
    cases += [Hostile(f"escape codes in a purpose: {command}", {"experiments/hostile.yaml": purpose.encode()}, command,
                      False) for command in ("koe exp list", "koe exp show hostile")]
    return cases


def _saved(content: object) -> bytes:
    import io

    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def hostile(reference: Reference, slot: Path, number: int, draw: np.random.Generator) -> Outcome:
    """One hostile file is read."""
    from campaigns.damage import readers_of

    readers = readers_of(reference, slot)
    marker = slot / "readers/ran"
    cases = hostile_cases(marker)
    case = cases[number % len(cases)]
    folder, kept = readers.folder, {}
    for name, content in case.files.items():
        kept[name] = (folder / name).read_bytes() if (folder / name).exists() else None
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(content)
    problems = []
    try:
        ended = forked.run(folder, *case.command.split())
        if ended.problem:
            problems.append(ended.problem)
        if case.refused and not ended.status:
            problems.append("it is not refused")
        if shows_control_codes(ended.output):
            problems.append(f"control codes are printed: {ended.output[-200:]!r}")
        if marker.exists():
            problems.append("code in the file was run")
            shutil.rmtree(marker)
    finally:
        for name, before in kept.items():
            (folder / name).unlink(missing_ok=True)
            if before is not None:
                (folder / name).write_bytes(before)
        (folder / "out.wav").unlink(missing_ok=True)
        shutil.rmtree(folder / "imported", ignore_errors=True)
    return Outcome(f"{case.what}: {case.command.partition(' ../')[0]}", problems)
