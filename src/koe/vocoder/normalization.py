"""Weight and spectral normalisation under the names that published HiFi-GAN state dicts use.

Modules are normalised with PyTorch's parametrizations. Their state dicts say `parametrizations.weight.original0`
where published files say `weight_g`; files are read and written with the published names.
"""

from torch import Tensor, nn
from torch.nn.utils import parametrize

_WEIGHT = "parametrizations.weight."
_WEIGHT_NORM = {"weight_g": _WEIGHT + "original0", "weight_v": _WEIGHT + "original1"}
_SPECTRAL_NORM = {
    "weight_orig": _WEIGHT + "original", "weight_u": _WEIGHT + "0._u", "weight_v": _WEIGHT + "0._v",
}


def published_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state dict of this project's modules under the published names."""
    names = {ours: published for published, ours in (_WEIGHT_NORM | _SPECTRAL_NORM).items()}
    names[_WEIGHT_NORM["weight_v"]] = "weight_v"
    return {_renamed(key, names): value for key, value in state.items()}


def internal_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A published state dict under the names of this project's modules."""
    renamed = {}
    for key, value in state.items():
        module = key.rpartition(".")[0]
        names = _SPECTRAL_NORM if f"{module}.weight_orig" in state else _WEIGHT_NORM
        renamed[_renamed(key, names)] = value
    return renamed


def _renamed(key: str, names: dict[str, str]) -> str:
    for suffix, name in names.items():
        if key.endswith("." + suffix):
            return key.removesuffix(suffix) + name
    return key


def fold_normalization(model: nn.Module) -> nn.Module:
    """Replaces every normalised weight in `model` by the plain weight it stands for; returns `model`.

    Copies of `model` stay as they are. PyTorch's `remove_parametrizations` breaks them: they share a class with it.
    """
    for module in list(model.modules()):
        if parametrize.is_parametrized(module, "weight"):
            weight = module.weight
            assert isinstance(weight, Tensor)
            del module.parametrizations
            module.__class__ = type(module).__bases__[0]  # without the computed attribute
            module.weight = nn.Parameter(weight.detach().clone())
    return model
