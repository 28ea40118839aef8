"""What the align section must not say together."""

from typing import Any

import pytest

from koe.errors import ParameterError
from koe.tasks.conversion.schema import check_params


@pytest.mark.parametrize("change, message", [
    ({"compare": "dtw"}, "align.compare: dtw is align.method too"),
    ({"compare": "viterbi"}, "align.compare: input should be 'dtw', 'attention' or 'learned'"),
    ({"attention": {"kernel": 4}}, "align.attention.kernel: 4 is even; steps stay in place with an odd one, e.g. 5"),
    ({"learned": {"training": {"warmup_steps": 300}}}, "align.learned.training.warmup_steps: 300 is not below"),
])
def test_contradictions_are_named(values: dict[str, Any], change: dict[str, Any], message: str) -> None:
    def merge(into: dict[str, Any], tree: dict[str, Any]) -> None:
        for name, value in tree.items():
            if isinstance(value, dict):
                merge(into[name], value)
            else:
                into[name] = value

    merge(values["align"], change)
    with pytest.raises(ParameterError, match=message):
        check_params(values)
