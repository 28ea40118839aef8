"""Koe (声): parallel recordings in, a voice converter out."""

__version__ = "0.1.0"
