"""Rope types, one file each: the file's name is config.json's rope_type, `TYPE` its class."""
