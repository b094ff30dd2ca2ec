import torch

from camloc.attribution.principal import first_direction


def test_agrees_with_a_singular_value_decomposition() -> None:
    for rows, columns in ((5, 9), (9, 5), (4, 4), (1, 3), (3, 1)):
        matrices = torch.randn(3, rows, columns, generator=torch.Generator().manual_seed(0))
        expected = torch.linalg.svd(matrices.double()).Vh[:, 0]
        found = first_direction(matrices)
        torch.testing.assert_close((found * expected).sum(dim=1).abs(), torch.ones(3, dtype=torch.float64))
        largest = found.gather(1, found.abs().argmax(dim=1, keepdim=True))
        assert (largest > 0).all()


def test_zeros_and_values_that_are_not_finite() -> None:
    matrices = torch.eye(2).repeat(3, 1, 1)
    matrices[0] = 0
    matrices[1, 0, 0] = torch.inf
    matrices[2, 1] = 0
    found = first_direction(matrices)
    assert found[0].tolist() == [0.0, 0.0]
    assert found[1].isnan().all()
    assert found[2].tolist() == [1.0, 0.0]
