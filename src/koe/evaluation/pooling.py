"""Measures that are ratios of counts: over many recordings, the ratio of all counts, not the mean of ratios."""

POOLED = {"wer": ("word_errors", "words"), "cer": ("character_errors", "characters")}  # columns, by measure
