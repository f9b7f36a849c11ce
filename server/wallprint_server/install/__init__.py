"""Putting the plug-ins into GIMP and Krita. Knows files and folders; no pixels, no sockets."""
