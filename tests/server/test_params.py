"""The JSON of a request: an object, or a sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textseg.errors import OptionError
from textseg.server.params import MAX_PARAMS, read_params


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"prompt": ', "no JSON"),
        ("[1]", "not a list"),
        ("null", "not a NoneType"),
        ("[" * 90_000, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "no JSON"),
        ('{"a": NaN}', "NaN"),
        ('{"a": 1e999}', "no JSON"),
        ('{"a": "\\ud800"}', "no JSON"),
        (" " * (MAX_PARAMS + 1), "Send less"),
    ],
)
def test_what_cannot_be_used_is_told(text: str, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        read_params(text)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert isinstance(read_params(text), dict)
    except OptionError as refused:
        assert str(refused)


def test_nothing_is_no_options() -> None:
    assert read_params("") == read_params("{}") == {}
