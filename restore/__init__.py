"""Whole photos in, restored faces out, nothing else touched; and how good that is."""
