"""The live preview: the region in sight, fused again while parameters change."""
