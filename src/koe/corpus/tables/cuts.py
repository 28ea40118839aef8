"""The table of cut points: the part of each recording that `trim` keeps (`koe.audio.trim.Cuts`)."""

from koe.tables import Table

CUTS = Table("trim.csv", {
    "utterance": str,
    "start": int,  # samples
    "end": int,
    "head_seconds": float,  # cut off
    "tail_seconds": float,
    "outside_head_db": float,  # relative to the loudest frame
    "outside_tail_db": float,
    "voicing_head": float,  # 0 to 1
    "voicing_tail": float,
    "suspect": int,  # 0 or 1
    "why": str,
})
