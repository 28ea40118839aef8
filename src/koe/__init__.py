"""Koe (声): recordings in, speech systems out, as pipelines of cached stages.

Lessons that are cited by number are those of the research log (docs/lessons.md).
"""
