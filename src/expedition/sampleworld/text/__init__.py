"""Text sources: English and other languages, web pages, code, books, lessons, and what is planted in them."""
