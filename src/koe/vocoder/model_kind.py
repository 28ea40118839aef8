"""How a trained vocoder is named: apart from the code that reads one, for stages that run without PyTorch."""

from koe.training.references import ModelKind

VOCODER = ModelKind("vocoder", "vocoder.json")
