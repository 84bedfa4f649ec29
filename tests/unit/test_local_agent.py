"""The agent of `make run`: whatever its own system does, it goes on."""

import socket

import pytest

from servers import agent


@pytest.fixture
def silent():
    """The URL of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_no_answer_in_time_is_told_and_the_next_post_comes(silent, monkeypatch, capsys):
    monkeypatch.setattr(agent, "ANSWER_S", 0.1)
    posting = agent.Agent(silent, "key")
    for _ in range(2):
        assert posting.post() is False
    assert capsys.readouterr().err.count("were not taken: ReadTimeoutError") == 2


def test_an_absent_server_is_told(capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert agent.Agent(f"http://127.0.0.1:{port}", "key").post() is False
    assert "were not taken: NewConnectionError" in capsys.readouterr().err
