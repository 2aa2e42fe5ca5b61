"""The trained presets, one folder each; `from_preset` reads them."""
