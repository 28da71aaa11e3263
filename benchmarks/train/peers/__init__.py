"""Rivals' programs for rows of the table, each as its own documentation runs it; all print one JSON document."""
