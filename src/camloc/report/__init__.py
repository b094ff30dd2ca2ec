"""What a person looks at: pictures, tables, the HTML page."""
