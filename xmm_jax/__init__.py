"""Denoise and super-resolve XMM-Newton EPIC-pn images."""

__version__ = "0.1.0.dev0"
