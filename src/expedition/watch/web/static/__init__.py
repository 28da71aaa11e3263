"""The static page: one self-contained HTML file, drawn from what the workspace holds."""
