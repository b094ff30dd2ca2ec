"""What a training minimizes: one file per objective."""
