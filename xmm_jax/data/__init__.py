"""Observations from FITS, pairs, records, batches."""
