"""CAM networks behind one contract: forward_features, forward_head, class_weights."""
