"""Where predictions come from: a network, saved maps, files of maps, a submission."""
