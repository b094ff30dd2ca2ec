import pytest
import torch
from omegaconf import OmegaConf

from camloc.experiment.device import check_clipping, check_devices, check_precision, compile_backbone


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


def test_clipping_before_a_fused_step_in_mixed_precision_is_refused() -> None:
    trainer = {"gradient_clip_val": 1.0, "precision": "bf16-mixed"}
    with pytest.raises(
        ValueError, match=r"gradient_clip_val=1\.0 cannot be combined with optimizer\.fused=true in .*bf16-mixed"
    ):
        check_clipping(OmegaConf.create({"trainer": trainer, "optimizer": {"fused": True}}))
    for allowed in (
        {"trainer": trainer, "optimizer": {"fused": None}},
        {"trainer": trainer},
        {"trainer": {**trainer, "precision": "32-true"}, "optimizer": {"fused": True}},
        {"trainer": {**trainer, "gradient_clip_val": None}, "optimizer": {"fused": True}},
    ):
        check_clipping(OmegaConf.create(allowed))


@pytest.mark.parametrize("precision", ["bf16-true", "16-true", "64-true", 64, "transformer-engine", "half"])
def test_weights_in_another_type_are_refused_and_the_mixed_form_is_named(precision: str | int) -> None:
    with pytest.raises(ValueError, match=rf"^trainer\.precision={precision} is not supported: .*=bf16-mixed"):
        check_precision(precision)


@pytest.mark.parametrize("precision", ["32-true", 32, "bf16-mixed", "16-mixed", 16, None])
def test_weights_in_float32_are_allowed(precision: str | int | None) -> None:
    check_precision(precision)


def test_a_network_is_compiled_in_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function: function)
    compiled: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compiled.append(module))  # noqa: PLW0108 - binds
    backbone = torch.nn.Linear(1, 1)
    compile_backbone(backbone, "cpu")
    assert compiled == [backbone]


def test_what_compiling_needs_is_named_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_compiler(_: object) -> None:
        raise RuntimeError("no C++ compiler found\nmuch more")

    monkeypatch.setattr(torch, "compile", without_compiler)
    with pytest.raises(
        ValueError, match=r"^compile=true needs a C\+\+ compiler, .*set compile=false: no C\+\+ compiler found$"
    ):
        compile_backbone(torch.nn.Linear(1, 1), "auto")
