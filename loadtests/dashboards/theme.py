"""Grafana's dark theme: the colours of its page, of its classic palette, and of its thresholds."""

GROUND, PANEL, TEXT, WEAK, GRID = "#111217", "#181b1f", "#ccccdc", "#8e8e99", "#2b2e35"
PALETTE = (
    "#73bf69",
    "#f2cc0c",
    "#8ab8ff",
    "#ff780a",
    "#f2495c",
    "#5794f2",
    "#b877d9",
    "#705da0",
    "#37872d",
    "#fade2a",
    "#447ebc",
    "#c15c17",
    "#e0626c",
    "#70dbed",
)
NAMED = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "blue": "#5794f2", "transparent": "none"}
