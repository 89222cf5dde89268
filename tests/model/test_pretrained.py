"""Pretrained weights without a connection: one try, one message, no lines of libraries."""

import logging
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch

from lmpnet_cli.errors import CheckpointError
from lmpnet_cli.model import pretrained
from lmpnet_cli.model.pretrained import LOGGERS, check_pretrained, quiet_libraries


@pytest.fixture
def requests(monkeypatch, tmp_path) -> list[str]:
    """No weights on this computer; the addresses that were asked for, without an answer."""
    asked: list[str] = []

    def unreachable(url, timeout):
        asked.append(url)
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(pretrained, "get_hf_file_metadata", unreachable)
    monkeypatch.setattr(pretrained, "try_to_load_from_cache", lambda repository, file: None)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    return asked


def test_one_try_one_message_no_log(requests, caplog, capfd):
    message = (
        r"resnet50.tv_in1k are not on this computer.*\(ConnectionError\)\. Connect to the internet once, pass --init"
    )
    with pytest.raises(CheckpointError, match=message):
        check_pretrained("resnet50.tv_in1k")
    assert requests == ["https://huggingface.co/timm/resnet50.tv_in1k/resolve/main/model.safetensors"]
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


def test_weights_on_this_computer_need_no_connection(requests, monkeypatch, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints/resnet50-0676ba61.pth").touch()  # as torchvision stores them
    check_pretrained("resnet50.tv_in1k")

    monkeypatch.setattr(pretrained, "try_to_load_from_cache", lambda repository, file: "path")
    check_pretrained("resnet18")
    assert requests == []


def test_any_answer_is_a_connection(requests, monkeypatch):
    def refuse(url, timeout):
        raise huggingface_hub.utils.HfHubHTTPError("404", response=SimpleNamespace(headers={}, request=None))

    monkeypatch.setattr(pretrained, "get_hf_file_metadata", refuse)
    check_pretrained("resnet18")


@pytest.mark.parametrize("name", ["darknet17", "resnet50.nonsense"])
def test_networks_without_pretrained_weights(requests, name):
    with pytest.raises(
        CheckpointError, match=rf"timm has no pretrained weights for {name}\. Choose another --backbone"
    ):
        check_pretrained(name)
    assert requests == []


def test_the_levels_of_the_loggers_are_restored():
    before = [logging.getLogger(name).level for name in LOGGERS]
    with pytest.raises(ValueError, match="inside"), quiet_libraries():
        assert not logging.getLogger("huggingface_hub.file_download").isEnabledFor(logging.ERROR)
        raise ValueError("inside")
    assert [logging.getLogger(name).level for name in LOGGERS] == before
