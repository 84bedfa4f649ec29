"""Each bug of the net, planted into a copy of the tree, fails the test that docs/invariants.md names for it."""

import pytest

from tests.support.net import NET, copy_tree, fails, names_of_net

pytestmark = pytest.mark.nightly


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    path = tmp_path_factory.mktemp("tree")
    copy_tree(path)
    return path


@pytest.mark.parametrize("bug", NET)
def test_a_planted_bug_fails_its_test(tree, bug):
    planted, test = NET[bug], names_of_net()[bug]
    file = tree / planted.file
    text = file.read_text()
    assert text.count(planted.old) == 1, f"{planted.file} should have once {planted.old!r}: change tests/support/net.py"
    file.write_text(text.replace(planted.old, planted.new))
    try:
        assert fails(tree, [test]), f"{test} passes with the bug: {bug}"
    finally:
        file.write_text(text)


def test_without_a_bug_they_pass(tree):
    assert not fails(tree, [names_of_net()[bug] for bug in NET])
