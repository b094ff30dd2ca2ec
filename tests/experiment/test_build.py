import pytest
import torch
from omegaconf import OmegaConf

from camloc.experiment.build import check_devices, instantiate_all


@pytest.mark.parametrize("devices", [8, "8", [0, 1, 2, 3, 4, 5, 6, 7]])
def test_more_gpus_than_there_are_is_one_clear_error(
    devices: int | str | list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"asks for 8 GPUs and this machine has 2; .*trainer\.accelerator=cpu"):
        check_devices("auto", devices)


@pytest.mark.parametrize(
    ("accelerator", "devices"), [("cpu", 8), ("auto", 1), ("auto", "auto"), ("gpu", 2), ("auto", [0, 1]), ("auto", -1)]
)
def test_what_the_machine_has_is_allowed(
    accelerator: str, devices: int | str | list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    check_devices(accelerator, devices)


def test_one_gpu_is_not_taken_for_granted_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(ValueError, match="asks for 1 GPUs and this machine has 0"):
        check_devices("gpu", 1)


def test_entries_that_are_null_are_left_out() -> None:
    group = OmegaConf.create({"a": {"_target_": "builtins.dict", "x": 1}, "b": None})
    assert instantiate_all(group) == [{"x": 1}]
    assert instantiate_all(None) == []
