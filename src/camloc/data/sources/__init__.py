"""Images without labels, wherever they come from: files, videos, cameras, splits."""
