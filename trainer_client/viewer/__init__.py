"""Shows scored responses in one HTML file that needs no network, and writes them as tables."""
