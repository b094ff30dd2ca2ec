"""The direction in which the rows of a matrix differ most."""

import torch
from torch import Tensor


def first_direction(matrices: Tensor) -> Tensor:
    """Return the first right singular vector of each matrix.

    Args:
        matrices: (N,n,d).

    Returns:
        (N,d) float64 of length 1, the sign so that its entry of the largest absolute value is positive. Zeros for a
        matrix of zeros, NaN for one with values that are not finite.

    Example:
        >>> first_direction(torch.tensor([[[-2.0, 0.0], [0.0, 1.0]]]))
        tensor([[1., 0.]], dtype=torch.float64)
    """
    finite = matrices.isfinite().flatten(1).all(dim=1)[:, None]
    # Float64, since the eigenvalues of the smaller Gram matrix are squares of singular values.
    matrices = matrices.double().where(finite[..., None], 0)
    wide = matrices.shape[1] < matrices.shape[2]
    gram = matrices @ matrices.mT if wide else matrices.mT @ matrices
    values, vectors = torch.linalg.eigh(gram)
    first = vectors[..., -1]
    if wide:
        first = torch.nn.functional.normalize((matrices.mT @ first[..., None])[..., 0], dim=1)
    largest = first.gather(1, first.abs().argmax(dim=1, keepdim=True))
    directions = first * largest.sign() * (values[:, -1:] > 0)
    return torch.where(finite, directions, torch.nan)
