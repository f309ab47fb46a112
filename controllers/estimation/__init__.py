"""State estimation: what the network is doing, from what its meters say, and how sure that is."""
