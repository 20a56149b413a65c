"""Which picture is labelled next: scores, diversity, leases, the order of all. Runs without MONAI Label."""
