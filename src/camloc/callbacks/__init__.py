"""What happens during a run, apart from training and measuring."""
