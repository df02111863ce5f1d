"""Crashes, I/O errors and damage on purpose, and what vecdb makes of them."""
