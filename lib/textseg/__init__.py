"""Text-prompted segmentation of lung infection, served to stock 3D Slicer and OHIF by MONAI Label."""

__version__ = "0.1.0"
