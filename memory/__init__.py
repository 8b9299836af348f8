"""Nested memory and HOPE: associative memories, continuum memory, a sequence model that modifies itself."""
