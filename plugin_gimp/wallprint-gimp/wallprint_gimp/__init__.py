"""GIMP 3 plug-in of wallprint: runs in GIMP's own Python, without numpy and without pip."""
