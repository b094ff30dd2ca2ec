"""A configuration that came with a file is data of a limited size, and calls only what camloc or the user names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch
import yaml  # type: ignore[import-untyped] # no types published
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from camloc.experiment.configuration import configuration_directory
from camloc.experiment.entry import ENTRIES
from camloc.experiment.trusted import MAX_BYTES, MAX_DEPTH, MAX_VALUES, read_config, read_config_file, refuse_calls

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


def nested(depth: int) -> dict[str, Any]:
    return {"a": nested(depth - 1)} if depth else {}


def test_a_configuration_is_read_as_a_run_saved_it() -> None:
    text = "optimizer: {lr: 1e-3, fused: null}\nname: 'a: b'\nclasses: [1, b, [c]]\n"
    expected = {"optimizer": {"lr": 0.001, "fused": None}, "name": "a: b", "classes": [1, "b", ["c"]]}
    assert read_config(text, "config.yaml") == read_config(expected, "a.ckpt") == expected
    assert read_config(nested(MAX_DEPTH), "a.ckpt") == nested(MAX_DEPTH)
    assert read_config("", "config.yaml") == {}
    referring = {"localization": {"cut": [0.2], "protocols": {"a": "${localization.cut}", "b": "${localization.base}"}}}
    assert read_config(referring, "a.ckpt") == referring


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: {b: [1, '${oc.env:HOME}']}", r"a\.b\.1 is \$\{oc\.env:HOME\}, and nothing is looked up for"),
        ("a: ${unique:}", r"a is \$\{unique:\}"),
        ("a: '\\${b}'", r"a is .*, and nothing is looked up"),
        ("a: 1\nb: ${a}", r"b is \$\{a\}"),
        ("hydra: {job: {env_set: {A: b}}}", "has a node hydra, which no run saves; remove it"),
        ({"hydra": {}}, "has a node hydra"),
        ("defaults: [{backbone: other}]", r"defaults is a list of other files"),
        ("backbone: {defaults: [/hydra/launcher: other]}", r"backbone\.defaults is a list of other files"),
        (BOMB, r"\*a is an alias, which no run saves"),
        ("a: &a\n  b: *a", r"\*a is an alias"),
        ("a: " + "[" * 10_000 + "]" * 10_000, "has more than .* levels, so no run saved it"),
        (nested(MAX_DEPTH + 1), "has more than .* levels"),
        ({"a": [None] * MAX_VALUES}, f"has more than .* {MAX_VALUES} values"),
        ("#" * (MAX_BYTES + 1), f"has more than {MAX_BYTES} bytes"),
        ({"a": torch.zeros(2)}, "a is a Tensor, which no run saves; write the value itself"),
        ({"a": (1, 2)}, "a is a tuple"),
        ("a: !!binary aGk=", "a is a bytes"),
        ("a: !!python/object/apply:os.system [ls]", "is no YAML that a run saved"),
        ("a: 1\na: 2", "is no YAML that a run saved.*duplicate"),
        ("a: [1", "is no YAML that a run saved"),
        ("a: '\x07'", "is no YAML that a run saved"),
        (
            "localization: {a: [1], b: ['${localization.a}'], c: '${localization.b}'}",
            r"localization\.c is .* to another",
        ),
        (
            "localization: {a: '${localization.a}'}",
            r"localization\.a is \$\{localization\.a\}, which refers to another",
        ),
        ({"localization": {"a": [1] * 1000, "b": ["${localization.a}"] * 1000}}, "has more than .* values"),
        ("- a", "holds no configuration: a mapping is needed, got list"),
        (["a"], "holds no configuration: a mapping is needed, got list"),
    ],
)
def test_what_no_run_saves_is_refused_in_one_line(content: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^the file.*{message}") as refused:
        read_config(content, "the file")
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 300


def test_a_text_of_too_many_values_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("camloc.experiment.trusted.MAX_VALUES", 100)  # a text of 100,000 takes half a minute
    assert read_config("a: [" + "1," * 98 + "]", "the file") == {"a": [1] * 98}
    for count in (100, 1000):  # before and while it is read
        with pytest.raises(ValueError, match=r"^the file has more than .* values"):
            read_config("a: [" + "1," * count + "]", "the file")


def test_what_contains_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = [endless, endless]
    shared: list[Any] = ["x"] * 10
    for _ in range(8):
        shared = [shared] * 10
    for content in (endless, {"a": shared}):
        with pytest.raises(ValueError, match=r"a\.ckpt has more than"):
            read_config(content, "a.ckpt")


def test_a_file_is_measured_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    with file.open("wb") as stream:
        stream.truncate(1 << 40)  # takes no room
    with pytest.raises(ValueError, match=rf"config\.yaml has more than {MAX_BYTES} bytes"):
        read_config_file(file)
    file.write_bytes(b"a: \xff")
    with pytest.raises(ValueError, match=r"config\.yaml is no UTF-8 text"):
        read_config_file(file)


Refuse = Callable[..., None]


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> Refuse:
    """Check a configuration that came with a checkpoint, on a command line with further directories and overrides."""

    def check(part: object, *overrides: str, config_dirs: tuple[Path, ...] = (), trust: object = False) -> None:
        paths = (configuration_directory(), *config_dirs)
        sources = [{"path": str(path), "schema": "file"} for path in paths]
        hydra = {"runtime": {"config_sources": sources}, "overrides": {"task": list(overrides)}}
        monkeypatch.setattr(HydraConfig.instance(), "cfg", OmegaConf.create({"hydra": hydra}))
        refuse_calls(OmegaConf.create({"checkpoint": "RUN", "trust": trust, "part": part}))

    return check


def test_what_every_file_of_camloc_names_may_be_called(refuse: Refuse) -> None:
    contents = [yaml.safe_load(file.read_text()) for file in configuration_directory().rglob("*.yaml")]
    named = [content for content in contents if isinstance(content, dict) and "_target_" in content]
    assert len(named) > 30
    for content in named:
        refuse({key: value for key, value in content.items() if not isinstance(value, str) or "${" not in value})


@pytest.mark.parametrize(
    "target",
    [
        "torch.optim.Adam",
        "torch.optim.lr_scheduler.OneCycleLR",
        "torch.optim.lr_scheduler.ReduceLROnPlateau",
        "torchmetrics.Accuracy",
        "torchmetrics.classification.MulticlassCalibrationError",
        "camloc.metrics.stock.StockMetric",
        "pytorch_lightning.Trainer",
    ],
)
def test_what_else_may_be_called(target: str, refuse: Refuse) -> None:
    refuse({"_target_": target})


@pytest.mark.parametrize(
    "target",
    [
        "camloc.experiment.sweep.process.run_process_tree",  # camloc's own, and runs a shell
        "camloc.experiment.checkpoint.load_checkpoint",
        "camloc.backbones.weights.load_trunk",
        "camloc.export.saved_maps.write_saved_maps",
        "camloc.backbones.vgg.vgg_gap.__globals__",
        "camloc.backbones.vgg.torch.load",
        "os.system",
        "builtins.eval",
        "pathlib.Path.write_text",
        "functools.partial",
        "hydra.utils.get_method",
        "hydra.utils.get_object",
        "hydra.utils.instantiate",
        "torch.load",
        "torch.hub.load",
        "torch.optim.Adam.load_state_dict",
        "torch.optim.lr_scheduler.partial",
        "torch.optim.lr_scheduler.Counter",
        "torch.optim.sgd.torch.load",
        "torchmetrics.Metric.load_state_dict",
        "torchmetrics.classification.torch.load",
        "torchmetrics.text.BERTScore",  # loads the model that it is given
        "torchmetrics.image.FrechetInceptionDistance",
        "pytorch_lightning.Trainer.from_argparse_args",
        "pytorch_lightning.loggers.CSVLogger",
        " torch.optim.Adam",
        "torch.optim.Adam\n",
        "",
        "???",
        None,
        3,
        ["os.system"],
        {"_target_": "torch.optim.Adam"},
    ],
)
def test_nothing_else_is_called(target: object, refuse: Refuse) -> None:
    with pytest.raises(ValueError, match=r"^checkpoint=RUN: part\._target_=.* is not called: .*trust=true") as refused:
        refuse({"_target_": target})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ({"a": {"b": {"_target_": "os.system"}}}, r"part\.a\.b"),
        ([{"a": [{"_target_": "os.system"}]}], r"part\.0\.a\.0"),
        ({"_target_": "torch.optim.Adam", "_args_": [{"_target_": "os.system"}]}, r"part\._args_\.0"),
        ({"_target_": "os.system", "_partial_": True}, "part"),
        ({"_target_": "torch.optim.Adam", "_recursive_": False, "x": {"_target_": "os.system"}}, r"part\.x"),
        # What camloc completes itself is not called with a stranger's arguments alone.
        ({"_target_": "camloc.experiment.loggers.wandb_logger", "save_dir": "/tmp", "project": "x"}, "part"),  # noqa: S108 - not written to
    ],
)
def test_a_call_is_found_wherever_it_stands(part: object, key: str, refuse: Refuse) -> None:
    with pytest.raises(ValueError, match=rf"^checkpoint=RUN: {key}\._target_=\S+ is not called"):
        refuse(part)


def test_what_the_user_names_may_be_called(refuse: Refuse, tmp_path: Path) -> None:
    own = {"_target_": "my_net.build", "_partial_": True}
    with pytest.raises(ValueError, match=r"my_net\.build is not called"):
        refuse(own)
    (tmp_path / "mine" / "backbone" / "deep").mkdir(parents=True)
    (tmp_path / "mine" / "backbone" / "deep" / "net.yaml").write_text("width: 3\n_target_: my_net.build\n")
    refuse(own, config_dirs=(tmp_path / "mine",))
    for override in ("backbone._target_=my_net.build", "+protocols.x={_target_: my_net.build}"):
        refuse(own, override)


def test_a_file_that_no_group_holds_names_nothing(refuse: Refuse, tmp_path: Path) -> None:
    for file in ("runs/train/config.yaml", "runs/.hydra/config.yaml", "backbone/broken.yaml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("a: {_target_: os.system}\n" if "runs" in file else "_target_: [os.system")
    with pytest.raises(ValueError, match=r"os\.system is not called"):
        refuse({"_target_": "os.system"}, config_dirs=(tmp_path,))


def test_trust_opens_the_rest_and_says_so(refuse: Refuse, capsys: pytest.CaptureFixture[str]) -> None:
    part = [{"_target_": "b.c"}, {"_target_": "a.b\x1b[2J"}, {"_target_": "torch.optim.Adam"}, {"_target_": "b.c"}]
    refuse(part, trust=True)
    assert capsys.readouterr().err == (
        "warning: trust=true: the configuration of checkpoint=RUN calls 'a.b\\x1b[2J', b.c\n"
    )
    refuse({"_target_": "torch.optim.Adam"}, trust=True)
    assert capsys.readouterr().err == ""
    with pytest.raises(ValueError, match="is not called"):
        refuse(part, trust="no")


def test_settings_of_wandb_are_not_taken_from_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = {
        "_target_": "camloc.experiment.loggers.wandb_logger",
        "_partial_": True,
        "settings": {"base_url": "http://stranger"},
    }
    config = OmegaConf.create({"resume": "RUN", "logger": {"wandb": wandb}})

    def check(*overrides: str) -> None:
        hydra = {"runtime": {"config_sources": []}, "overrides": {"task": list(overrides)}}
        monkeypatch.setattr(HydraConfig.instance(), "cfg", OmegaConf.create({"hydra": hydra}))
        refuse_calls(config)

    with pytest.raises(ValueError, match=r"resume=RUN: logger\.wandb\.settings is not taken from a run: .*your key"):
        check()
    with pytest.raises(ValueError, match=r"logger\.wandb\.settings is not taken"):
        check("++logger.wandb.settings.mode=offline")  # beside which the run's address would stay
    check("++logger.wandb.settings.base_url=http://mine")
    config.trust = True
    check()
    config.trust = False
    del config.logger.wandb.settings
    check()


def test_a_configuration_of_the_users_own_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    refuse_calls(OmegaConf.create({"checkpoint": None, "part": {"_target_": "my_net.build"}}))


class Toy(Protocol):
    folder: Path


CALL = {
    "_target_": "camloc.experiment.sweep.process.run_process_tree",
    "command": ["touch", "CALLED"],
    "cwd": ".",
    "stderr_log": {"_target_": "pathlib.Path", "_args_": ["log"]},
}


@pytest.mark.parametrize(
    ("command", "option", "content"),
    [
        ("evaluate", "checkpoint", {"backbone": CALL}),
        ("evaluate", "checkpoint", {"backbone": {}, "datamodule": {"annotations": CALL}}),
        ("evaluate", "checkpoint", {"backbone": {}, "localization": {"protocols": {"x": CALL}}}),
        ("train", "resume", {"seed": 0, "callbacks": {"x": CALL}}),
        ("train", "resume", {"seed": 0, "logger": {"x": {**CALL, "_partial_": True}}}),
        ("train", "resume", {"seed": 0, "trust": True, "trainer": CALL}),
        ("train", "resume", {"seed": 0, "hydra": {"callbacks": {"x": CALL}}}),
        ("train", "resume", {"seed": 0, "defaults": [{"/hydra/job_logging": "other"}]}),
    ],
)
def test_a_strangers_run_is_refused_before_anything_is_called(
    command: str, option: str, content: dict[str, Any], toy: Toy, capsys: pytest.CaptureFixture[str]
) -> None:
    run = toy.folder / "stranger"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("best.ckpt", "last.ckpt"):
        (run / "checkpoints" / name).touch()
    (run / "hydra" / "job_logging").mkdir(parents=True)
    (run / "hydra" / "job_logging" / "other.yaml").write_text("version: 1\n")
    (run / "config.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(SystemExit) as stopped:
        ENTRIES[command].run(["camloc", command], [f"{option}={run}"])
    assert stopped.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert str(run) in line
    assert not list(toy.folder.rglob("CALLED"))
    assert not (run / "status.json").exists()


def test_a_run_gives_its_configuration_and_no_other_file(toy: Toy, capsys: pytest.CaptureFixture[str]) -> None:
    run = toy.folder / "stranger"
    for file in ("checkpoints/last.ckpt", "my_group/own.yaml"):
        (run / file).parent.mkdir(parents=True)
        (run / file).write_text("value: 3\n")
    (run / "config.yaml").write_text("seed: 7\n")
    ENTRIES["train"].run(["camloc", "train"], ["--cfg", "job", f"resume={run}", "+my_group=own"])
    printed = capsys.readouterr().out
    assert "seed: 7\n" in printed
    assert "my_group: own\n" in printed  # a value, and not the file
