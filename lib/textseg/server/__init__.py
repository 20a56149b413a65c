"""The MONAI Label app: the only code that knows HTTP and imports monailabel."""
