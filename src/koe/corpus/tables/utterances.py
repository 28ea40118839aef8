"""The utterance table: what `import` writes about each recording of a corpus."""

from koe.tables import Place, Table

UTTERANCES = Table("table.csv", {
    "utterance": str,  # `koe.names.utterance_name`
    "speaker": str,
    "gender": str,  # female, male or empty
    "sentence": str,  # stands for a text: within a corpus, two texts never have the same name
    "style": str,  # whisper, falsetto, an emotion; empty: spoken normally
    "text": str,  # may be empty
    "language": str,
    "role": str,  # source, target or empty
    "path": str,  # empty: the audio is packed beside the table
    "start": Place | None,  # s, of the utterance in its file; empty: from its beginning
    "end": Place | None,  # s; empty: to its end
    "seconds": float,
    "sample_rate": int,  # Hz
    "channels": int,
    "format": str,
})
