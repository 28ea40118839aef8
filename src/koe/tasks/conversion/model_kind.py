"""What names a trained model: apart from the code that reads one, for stages that do without PyTorch."""

from koe.training.references import ModelKind

ACOUSTIC = ModelKind("acoustic", "model.json")
