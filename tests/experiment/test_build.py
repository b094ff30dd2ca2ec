from omegaconf import OmegaConf

from camloc.experiment.build import instantiate_all


def test_entries_that_are_null_are_left_out() -> None:
    group = OmegaConf.create({"a": {"_target_": "builtins.dict", "x": 1}, "b": None})
    assert instantiate_all(group) == [{"x": 1}]
    assert instantiate_all(None) == []
