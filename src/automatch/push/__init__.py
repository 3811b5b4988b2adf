"""Web push: news to devices on which no page is open."""
