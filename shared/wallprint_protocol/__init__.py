"""WPP/1, the Wall Print Protocol: what a plug-in and the server say to each other.

Runs inside GIMP's and Krita's own Python (3.9 and later) and in the server: standard library and
msgpack only. Importing this package imports neither zmq nor numpy nor torch.
"""

from __future__ import annotations

PROTOCOL_MAJOR = 1
PROTOCOL_MINOR = 2
PROTOCOL_VERSION = f"{PROTOCOL_MAJOR}.{PROTOCOL_MINOR}"
__version__ = "0.1.0"
