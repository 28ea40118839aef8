"""The names of a trained acoustic model, in a module of its own for stages that do not need PyTorch."""

from koe.training.references import ModelKind

ACOUSTIC = ModelKind("acoustic", "model.json")
