"""Rows from outside into a database: out of dumps, users' own files and damaged databases."""
