import pytest
import torch
from torch import nn

from camloc.optimization import parameter_groups, scale_learning_rates, step_decay, warmup_cosine


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def test_every_parameter_is_in_exactly_one_group() -> None:
    model = network()
    groups = parameter_groups(model, model[2].parameters(), head_lr_multiplier=10.0)
    grouped = [parameter for group in groups for parameter in group["params"]]
    assert len(grouped) == len(set(map(id, grouped))) == len(list(model.parameters()))


def test_biases_and_norms_do_not_decay_and_new_layers_learn_faster() -> None:
    model = network()
    optimizer = torch.optim.SGD(
        parameter_groups(model, model[2].parameters(), head_lr_multiplier=10.0), lr=0.5, weight_decay=0.1
    )
    scale_learning_rates(optimizer)
    settings = {
        id(parameter): (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert settings[id(model[0].weight)] == (0.5, 0.1)
    assert settings[id(model[0].bias)] == (0.5, 0.0)
    assert settings[id(model[1].weight)] == (0.5, 0.0)
    assert settings[id(model[2].weight)] == (5.0, 0.1)
    assert settings[id(model[2].bias)] == (5.0, 0.0)


def test_a_frozen_parameter_is_in_no_group() -> None:
    model = network()
    model[0].requires_grad_(requires_grad=False)
    groups = parameter_groups(model, model[2].parameters(), head_lr_multiplier=1.0)
    assert model[0].weight not in {parameter for group in groups for parameter in group["params"]}


def test_schedules_scale_every_group_by_its_own_learning_rate() -> None:
    model = network()
    optimizer = torch.optim.SGD(parameter_groups(model, model[2].parameters(), 10.0), lr=1.0)
    scale_learning_rates(optimizer)
    schedule = warmup_cosine(optimizer, total_steps=4, warmup=0.5)
    seen = []
    for _ in range(4):
        seen.append(sorted({group["lr"] for group in optimizer.param_groups}))
        optimizer.step()
        schedule.step()
    assert seen == [[0.5, 5.0], [1.0, 10.0], [1.0, 10.0], [0.5, 5.0]]


@pytest.mark.parametrize("total_steps", [1, 2, 7])
def test_short_trainings_have_a_learning_rate_at_every_step(total_steps: int) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    for factory in (warmup_cosine, step_decay):
        factor = factory(optimizer, total_steps=total_steps).lr_lambdas[0]
        assert all(0 < factor(step) <= 1 for step in range(total_steps))


def test_an_impossible_warmup_is_refused() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    with pytest.raises(ValueError, match=r"scheduler.warmup.*found 1"):
        warmup_cosine(optimizer, total_steps=10, warmup=1.0)
