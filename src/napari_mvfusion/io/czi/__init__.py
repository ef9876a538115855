"""CZI files of ZEN: segments that hold planes, and an XML that says what they are."""
