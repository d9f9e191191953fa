from __future__ import annotations

import grpc
import pytest
from bulkhead_kit import etags
from bulkhead_kit.errors import Aborted, InvalidArgument
from hypothesis import given
from hypothesis import strategies as st


@given(st.integers(min_value=0, max_value=2**31 - 1))
def test_an_etag_is_read_back(version: int) -> None:
    text = etags.etag(version)
    assert text.startswith('"')
    assert text.endswith('"')
    assert etags.expected_version(text) == version
    etags.demand(etags.expected_version(text), version)


def test_no_etag_means_no_expectation() -> None:
    assert etags.expected_version("") is None
    etags.demand(None, 5)


def test_another_version_is_aborted_and_says_the_current_one() -> None:
    with pytest.raises(Aborted) as caught:
        etags.demand(1, 2)
    assert caught.value.code is grpc.StatusCode.ABORTED
    assert caught.value.reason_name == "ETAG_MISMATCH"
    assert caught.value.metadata == {"etag": '"v2"'}
    assert etags.mismatch().metadata == {}


@pytest.mark.parametrize(
    "text",
    ["v1", '"1"', '"v"', '"v01"', '"v-1"', 'W/"v1"', "*", '"v1" ', '"v1"\n', '"v٣"', '"v2147483648"', '""'],
)
def test_what_was_never_an_etag_is_a_wrong_argument(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        etags.expected_version(text)
    assert caught.value.violations[0].field == "etag"
