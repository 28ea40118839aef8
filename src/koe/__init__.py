"""Koe (声): recordings in, speech systems out, as pipelines of cached stages."""
