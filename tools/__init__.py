"""Programs for those who work on vecdb."""
