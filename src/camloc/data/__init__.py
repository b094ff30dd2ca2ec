"""Images, labels and boxes, as typed samples and batches."""
