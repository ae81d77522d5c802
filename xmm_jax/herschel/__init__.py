"""Herschel SPIRE maps at 250, 350 and 500 um to a map at 450 um as SCUBA-2 sees it.

After Lauritsen et al., "Super-resolving Herschel imaging" (slides). Maps are [mJy/beam] on pixels
of 2 arcsec. `contenders` holds what needs no network, `plots` draws the figures of the slides.
"""
