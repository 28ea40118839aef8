"""Recognising audio by the first bytes of a file, whatever its name; used by `koe.audio.files` and the importers."""

import stat
from pathlib import Path

_HEAD = 4096  # bytes
_AT_0 = (
    b"fLaC", b"OggS", b"ID3", b"caff", b".snd", b"dns.", b"NIST_1A", b"Creative Voice File", b"riff\x2e\x91\xcf\x11",
    b"#!AMR", b"wvpk", b"MAC ", b"TTA1", b"TTA2", b"tBaK", b"MPCK", b"MP+", b"ADIF", b"DSD ", b"FRM8", b"#!SILK",
    b"\x02#!SILK", b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b".RMF", b".ra\xfd", b"FLV\x01",
    b"\x00\x00\x01\xba", b"\x0b\x77", b"\x7f\xfe\x80\x01", b"\x64\xa3\x01\x00", b"\x64\xa3\x02\x00",
)
_RIFF = {b"RIFF", b"RIFX", b"RF64", b"BW64"}
_RIFF_KINDS = {b"WAVE", b"AVI "}
_FORM_KINDS = {b"AIFF", b"AIFC", b"8SVX", b"16SV"}
_ATOMS = {b"ftyp", b"moov", b"mdat", b"wide", b"skip", b"pnot"}  # of MP4 and QuickTime
_IMAGES = {b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1", b"avif", b"avis", b"crx "}  # brands in ftyp
_TRANSPORT_PACKET = 188  # bytes, of an MPEG transport stream


def is_audio(path: str | Path) -> bool:
    """Whether a file begins as audio or as a video that may hold audio, whether or not Koe can read it.

    Only the first bytes of a regular file are looked at; anything that cannot be opened is no audio.
    """
    try:
        path = Path(path)
        if not stat.S_ISREG(path.stat().st_mode):
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        return False
    return (head.startswith(_AT_0) or _is_riff_or_form(head) or _is_atom(head) or _is_mpeg_audio(head)
            or head[:1] + head[_TRANSPORT_PACKET:_TRANSPORT_PACKET + 1] + head[376:377] == b"GGG")


def _is_riff_or_form(head: bytes) -> bool:
    kind = head[8:12]
    return (head[:4] in _RIFF and kind in _RIFF_KINDS) or (head[:4] == b"FORM" and kind in _FORM_KINDS)


def _is_atom(head: bytes) -> bool:
    return head[4:8] in _ATOMS and not (head[4:8] == b"ftyp" and head[8:12] in _IMAGES)


def _is_mpeg_audio(head: bytes) -> bool:
    """Whether the bytes are a frame of AAC (ADTS) or MPEG audio and, behind it, the beginning of another one."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return False
    adts = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    length = adts if head[1] & 0xF6 == 0xF0 else mpeg_frame(head, 0)[0]
    return length > 0 and head[length:length + 1] == b"\xff" and head[length + 1] & 0xFE == head[1] & 0xFE


def id3_length(content: bytes, at: int = 0) -> int:
    """Bytes of the ID3v2 tag at `at`; 0 if there is none. It stands before audio of any format, not of MPEG alone."""
    if content[at:at + 3] != b"ID3" or len(content) < at + 10:
        return 0
    size = 0
    for byte in content[at + 6:at + 10]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if content[at + 5] & 0x10 else 0)


_RATES = (44100, 48000, 32000)
_KBPS = {  # by whether it is MPEG 1, and by layer
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


def mpeg_frame(content: bytes, at: int) -> tuple[int, int, int, int]:
    """Length (bytes), samples, sample rate (Hz) and layer of the MPEG audio frame at `at`; zeros if there is none.

    The header is that of ISO/IEC 11172-3 and 13818-3, and of MPEG 2.5 for the lowest rates. A bit rate that is left
    free is none, because such a frame does not say where it ends.
    """
    if len(content) < at + 4 or content[at] != 0xFF or content[at + 1] & 0xE0 != 0xE0:
        return 0, 0, 0, 0
    version, layer = content[at + 1] >> 3 & 3, 4 - (content[at + 1] >> 1 & 3)  # version 3: 1, 2: 2, 0: 2.5
    kbps, rate = content[at + 2] >> 4, content[at + 2] >> 2 & 3
    if version == 1 or layer == 4 or kbps in (0, 15) or rate == 3:
        return 0, 0, 0, 0
    hertz = _RATES[rate] >> {3: 0, 2: 1, 0: 2}[version]
    bits = 1000 * _KBPS[version == 3, layer][kbps - 1]
    padding = content[at + 2] >> 1 & 1
    if layer == 1:
        return (12 * bits // hertz + padding) * 4, 384, hertz, layer
    samples = 576 if layer == 3 and version != 3 else 1152
    return samples // 8 * bits // hertz + padding, samples, hertz, layer
