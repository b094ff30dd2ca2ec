"""The tables of Zhou et al., CVPR 2016, from runs. Imports neither torch nor Lightning."""
