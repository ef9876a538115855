"""Projects of BigDataViewer and BigStitcher: an XML file that says where views lie, and the pixels that it names."""
