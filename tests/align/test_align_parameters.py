"""What the align section must not say together."""

from typing import Any

import pytest
from support.parameters import change, changed_params

from koe.errors import ParameterError
from koe.tasks.conversion.schema import check_params

TOO_LONG = {"align.learned.training.warmup_steps": 300}  # as long as the whole training


@pytest.mark.parametrize("changes, message", [
    ({"align.compare": "dtw"}, r"align\.compare: dtw is align\.method too"),
    ({"align.compare": "viterbi"}, r"align\.compare: input should be 'dtw', 'attention' or 'learned'"),
    ({"align.attention.kernel": 4},
     r"align\.attention\.kernel: 4 is even; expected an odd kernel, which keeps frames in place, e\.g\. 5$"),
    ({"align.method": "learned", **TOO_LONG}, r"align\.learned\.training\.warmup_steps: 300 is not below"),
    ({"align.compare": "learned", **TOO_LONG},
     r"align\.learned\.training\.warmup_steps: 300 is not below align\.learned\.training\.steps \(300\)"),
])
def test_contradictions_are_named(values: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        check_params(change(values, changes))


def test_what_a_method_that_is_not_used_contradicts_does_not_matter() -> None:
    assert changed_params(TOO_LONG).align == changed_params({}).align
