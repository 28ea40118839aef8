"""Metrics that are ratios of counts: over many recordings, the ratio of the sums, not the mean of the ratios."""

POOLED = {"wer": ("word_errors", "words"), "cer": ("character_errors", "characters")}  # columns, by metric
