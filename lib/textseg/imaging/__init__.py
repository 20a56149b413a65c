"""Read and write pictures with their geometry kept; the one preprocessing."""
