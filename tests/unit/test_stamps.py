"""Arrival stamps order as the stream does."""

import pytest
from carbyne.core import stamps
from carbyne.core.errors import InvariantError
from hypothesis import given

from tests.support.strategies import epochs, sequences


@given(epochs, sequences)
def test_a_stamp_comes_back(epoch: int, sequence: int) -> None:
    stamp = stamps.pack(epoch, str(sequence))
    assert len(stamp) == stamps.STAMP_BYTES
    assert stamps.unpack(stamp) == (epoch, str(sequence))


@given(epochs, sequences, epochs, sequences)
def test_bytes_order_as_epoch_and_sequence_do(epoch: int, sequence: int, epoch2: int, sequence2: int) -> None:
    first, second = stamps.pack(epoch, str(sequence)), stamps.pack(epoch2, str(sequence2))
    assert (first < second) == ((epoch, sequence) < (epoch2, sequence2))
    assert first >= stamps.ZERO


def test_a_kinesis_number_fits_and_keeps_every_digit() -> None:
    number = "49590338271490256608559692538361571095921575989136588898"
    assert stamps.unpack(stamps.pack(1, number)) == (1, number)
    assert stamps.pack(1, number).hex() == "00010" + "205bf4e5c260000000067648a170005c181eea000000062"


@pytest.mark.parametrize(
    ("epoch", "sequence"),
    [(-1, "0"), (1 << 16, "0"), (0, "-1"), (0, str(1 << 192))],
    ids=["epoch -1", "epoch 2**16", "sequence -1", "sequence 2**192"],
)
def test_what_does_not_fit_is_a_bug(epoch: int, sequence: int) -> None:
    with pytest.raises(InvariantError, match="a stamp holds"):
        stamps.pack(epoch, str(sequence))


@pytest.mark.parametrize("length", [0, 25, 27])
def test_a_stamp_of_another_length_is_a_bug(length: int) -> None:
    with pytest.raises(InvariantError, match=f"got {length}"):
        stamps.unpack(bytes(length))
