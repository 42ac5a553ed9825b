"""Pages and pictures of results: one self-contained HTML file, overlays in three planes, surfaces."""
