"""What the telescope does to the light of the sky: arrays in, arrays out."""
