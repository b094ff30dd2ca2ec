"""What a person looks at: images, tables, the HTML page."""
