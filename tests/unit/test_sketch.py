"""The sketch: how far its estimate is off, and that adding twice and in any order changes nothing."""

import random

import pytest
from carbyne.tenants.sketch import REGISTERS, Sketch


def of(numbers):
    sketch = Sketch()
    for number in numbers:
        sketch.add(b"series %d" % number)
    return sketch


@pytest.mark.parametrize("number", [0, 1, 10, 100, 1_000, 2_560, 5_000, 20_000, 100_000])
def test_the_estimate_is_within_three_standard_errors(number):
    assert of(range(number)).estimate == pytest.approx(number, rel=0.1, abs=0.5)


def test_order_and_repetition_change_nothing():
    numbers = list(range(3_000))
    shuffled = numbers * 2
    random.Random(1).shuffle(shuffled)
    assert of(numbers).registers == of(shuffled).registers


def test_a_union_counts_what_either_counted():
    left, right, both = of(range(4_000)), of(range(2_000, 6_000)), of(range(6_000))
    left.merge(right.registers)
    assert left.registers == both.registers


def test_what_was_stored_comes_back():
    sketch = of(range(500))
    assert len(sketch.registers) == REGISTERS
    assert Sketch(sketch.registers).registers == sketch.registers


@pytest.mark.parametrize("registers", [b"", b"\x01" * (REGISTERS - 1), b"\x01" * (REGISTERS + 1)])
def test_registers_of_another_length_count_as_empty(registers):
    sketch = of(range(10))
    before = sketch.registers
    sketch.merge(registers)
    assert sketch.registers == before and Sketch(registers).estimate == 0
