"""The local runtime stays small: it knows what the template uses and nothing more."""

from pathlib import Path

LINES_MAX = 840  # 80 of them since functions invoke each other


def test_local_stays_under_its_number_of_lines():
    files = (Path(__file__).resolve().parents[2] / "local").rglob("*.py")
    assert sum(len(file.read_text().splitlines()) for file in files) < LINES_MAX
