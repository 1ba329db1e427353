"""Trains, measures and draws samples of ``tiny-shapes``, the text-to-image model we ship."""
