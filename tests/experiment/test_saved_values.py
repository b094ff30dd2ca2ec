from omegaconf import OmegaConf

from camloc.experiment.saved_values import saved_values
from camloc.experiment.trusted import read_config


def test_what_refers_to_an_option_of_one_protocol_is_saved_resolved_and_can_be_read_again() -> None:
    protocols = {"a": {"list": "file"}, "b": {"list": "${localization.protocols.a.list}", "cut": "${localization.cut}"}}
    saved = saved_values(OmegaConf.create({"localization": {"cut": 0.2, "protocols": protocols}}))
    assert saved["localization"]["protocols"]["b"] == {"list": "file", "cut": "${localization.cut}"}
    assert read_config(OmegaConf.to_yaml(saved), "config.yaml").localization.protocols.b.cut == 0.2
