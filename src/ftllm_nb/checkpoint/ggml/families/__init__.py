"""Families of block types, one file each, with `TYPES`."""
