"""From recordings to statistics: this project's stages against a plain script like the research log's.

    python benchmarks/features.py --pairs 40

Both start from the same WAV files and end with features, alignment and statistics on disk. `plain` is one process
and the usual tools: librosa.load for every pass over a file, pydub for silence at head and tail, the public
HiFi-GAN mel on torch, pyworld's DIO and StoneMask, fastdtw on 20 mel bands, numpy for statistics. `koe` is the code of
the stages, on every core. Neither includes imports. Prints seconds a step and, last, lines
`ratio <name> <plain over koe>`.

Needs pydub and fastdtw (extra `dev`).
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pandas as pd
import pyworld
import soundfile
import torch
import torch.nn.functional as F
from fastdtw import fastdtw
from librosa.filters import mel as mel_filterbank
from scipy.spatial.distance import euclidean

from koe.align.pairs import align_pairs
from koe.audio.samples import from_int16
from koe.corpus.dataset import Dataset
from koe.corpus.extraction import extract_corpus
from koe.corpus.importers.registry import import_corpus
from koe.corpus.pairing import pair_corpora
from koe.corpus.params import CorpusParams
from koe.corpus.resampling import resample_corpus
from koe.corpus.statistics import measure_pairs
from koe.corpus.tables.utterances import UTTERANCES
from koe.corpus.trimming import trim_corpus
from koe.store import ShardReader
from koe.tasks.conversion.schema import Params, load_params

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pydub looks for ffmpeg, which WAV does not need
    from pydub import AudioSegment
    from pydub.silence import detect_leading_silence

STEPS = ("resample", "trim", "extract", "align", "stats")
BANDS = 20
SILENCE_DBFS = -50.0
CORPUS = "bench"


class Clock:
    """Seconds by step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def time(self, step: str, work: Callable[[], object]) -> None:
        start = time.perf_counter()
        work()
        self.seconds[step] = time.perf_counter() - start


def write_recordings(root: Path, pairs: int, params: Params) -> list[str]:
    """Speaks the demo's sentences, or takes them from data/corpus/demo: root/source/*.wav and root/target/*.wav."""
    folder = Path("data/corpus/demo")
    if not (folder / UTTERANCES.file).exists():
        folder = root / "demo"
        import_corpus("demo", params.corpora["demo"].model_copy(update={"utterances": pairs}), folder)
    table, store = UTTERANCES.read(folder), ShardReader(folder)
    sentences = sorted(set(table["sentence"]))[:pairs]
    for row in table[table["sentence"].isin(sentences)].itertuples():
        path = root / "wav" / row.role / f"{row.sentence}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, from_int16(store.get(row.utterance, "audio")), int(row.sample_rate), "PCM_16")
    return sentences


def koe_steps(root: Path, params: Params) -> dict[str, float]:
    """Seconds by step, with the functions that the stages call."""
    data = root / "data"
    corpus = CorpusParams(importer="folders", path=str(root / "wav"), source="source", target="target")
    import_corpus(CORPUS, corpus, data / "corpus" / CORPUS)
    folders = {stage: data / stage / CORPUS for stage in ("corpus", "resampled", "trim", "features")}
    dataset, clock, factor = Dataset([CORPUS], params.mel, data), Clock(), params.acoustic.reduction.factor

    clock.time("resample", lambda: resample_corpus(
        folders["corpus"], folders["resampled"], params.mel.sample_rate, params.resample))
    clock.time("trim", lambda: trim_corpus(folders["resampled"], folders["trim"], params.trim))
    clock.time("extract", lambda: extract_corpus(dataset, folders["features"], params.speaker_pitch))
    pair = params.pair.model_copy(update={"validation": 1, "test": 1})
    pairs = pair_corpora(dataset, pair, params.seed, data / "pairs")
    clock.time("align", lambda: align_pairs(dataset, pairs, params.align, factor, data / "alignment"))
    clock.time("stats", lambda: measure_pairs(dataset, pairs, params.stats, data / "stats"))
    return clock.seconds


class Plain:
    """The research log's steps: one file after another, with one output file for each."""

    def __init__(self, root: Path, names: list[str], params: Params) -> None:
        self.wav, self.out, self.params = root / "wav", root / "plain", params
        self.files = [f"{side}/{name}" for side in ("source", "target") for name in names]
        self.names = names
        mel = params.mel
        self.window = torch.hann_window(mel.win_length)
        self.filterbanks = {bands: torch.from_numpy(mel_filterbank(
            sr=mel.sample_rate, n_fft=mel.n_fft, n_mels=bands, fmin=mel.fmin, fmax=mel.fmax
        )) for bands in (mel.n_mels, BANDS)}

    def _path(self, step: str, file: str, suffix: str) -> Path:
        path = self.out / step / f"{file}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def _load(self, path: Path) -> np.ndarray:
        return librosa.load(path, sr=self.params.mel.sample_rate)[0]

    def resample(self) -> None:
        for file in self.files:
            wave = self._load(self.wav / f"{file}.wav")
            soundfile.write(self._path("resampled", file, ".wav"), wave, self.params.mel.sample_rate, "PCM_16")

    def trim(self) -> None:
        for file in self.files:
            sound = AudioSegment.from_wav(self._path("resampled", file, ".wav"))
            head = detect_leading_silence(sound, SILENCE_DBFS)
            tail = detect_leading_silence(sound.reverse(), SILENCE_DBFS)
            sound[head : len(sound) - tail].export(self._path("trimmed", file, ".wav"), format="wav")

    def extract(self) -> None:
        for file in self.files:
            wave = torch.from_numpy(self._load(self._path("trimmed", file, ".wav")))
            log_mel, energy = self._mel_spectrogram(wave, self.params.mel.n_mels)
            bands, _ = self._mel_spectrogram(wave, BANDS)
            for name, values in (("mel", log_mel), ("energy", energy), ("bands", bands)):
                np.save(self._path(name, file, ".npy"), values.numpy())
            self._pitch(file)

    def _mel_spectrogram(self, wave: torch.Tensor, bands: int) -> tuple[torch.Tensor, torch.Tensor]:
        mel = self.params.mel
        padding = (mel.n_fft - mel.hop_length) // 2
        padded = F.pad(wave[None, None], (padding, padding), mode="reflect")[0]
        spectrum = torch.view_as_real(torch.stft(
            padded, mel.n_fft, mel.hop_length, mel.win_length, self.window, center=False, return_complex=True))
        magnitude = torch.sqrt(spectrum.pow(2).sum(-1) + 1e-9)[0]
        log_mel = torch.log(torch.clamp(torch.matmul(self.filterbanks[bands], magnitude), min=1e-5))
        return log_mel.T, torch.norm(magnitude, dim=0).log()

    def _pitch(self, file: str) -> None:
        mel, pitch = self.params.mel, self.params.pitch
        wave = self._load(self._path("trimmed", file, ".wav")).astype(np.float64)
        f0, times = pyworld.dio(wave, mel.sample_rate, f0_floor=pitch.floor, f0_ceil=pitch.ceiling,
                                frame_period=mel.hop_length / mel.sample_rate * 1000)
        np.save(self._path("f0", file, ".npy"), pyworld.stonemask(wave, f0, times, mel.sample_rate))

    def align(self) -> None:
        for name in self.names:
            source, target = (np.load(self._path("bands", f"{side}/{name}", ".npy")) for side in ("source", "target"))
            _, path = fastdtw(source, target, dist=euclidean)
            durations = np.bincount([step[0] for step in dict((j, (i, j)) for i, j in path).values()],
                                    minlength=len(source))
            np.save(self._path("duration", name, ".npy"), durations)

    def stats(self) -> None:
        for side in ("source", "target"):
            for feature in ("mel", "f0", "energy"):
                values = np.concatenate([np.load(self._path(feature, f"{side}/{name}", ".npy")) for name in self.names])
                values = np.log(values[values > 0]) if feature == "f0" else values
                np.save(self._path("stats", f"{side}/{feature}", ".npy"), np.stack([values.mean(0), values.std(0)]))


def plain_steps(root: Path, names: list[str], params: Params) -> dict[str, float]:
    torch.set_num_threads(1)  # on a busy machine two threads would wait for each other
    plain, clock = Plain(root, names, params), Clock()
    librosa.load(root / "wav" / "source" / f"{names[0]}.wav", sr=params.mel.sample_rate)  # its imports are lazy
    for step in STEPS:
        clock.time(step, getattr(plain, step))
    return clock.seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=40, help="utterance pairs (default: %(default)s)")
    pairs = parser.parse_args().pairs
    params = load_params()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        names = write_recordings(root, pairs, params)
        seconds = sum(soundfile.info(path).duration for path in root.glob("wav/*/*.wav"))
        table = pd.DataFrame({"koe": koe_steps(root, params), "plain": plain_steps(root, names, params)})
    table.loc["features"] = table.sum()
    ratios = table["plain"] / table["koe"]
    print(f"{len(names)} pairs, {seconds:.0f} s of audio; seconds a step:")
    print(table.to_string(float_format="{:.2f}".format))
    for name, ratio in ratios.items():
        print(f"ratio {name} {ratio:.2f}")


if __name__ == "__main__":
    main()
