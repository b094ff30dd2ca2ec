"""Image files to tensors: decoding, sizes, transforms."""
