"""True boxes from other tools' files, one reader per format."""
