"""Few-shot relatives of learned objectives: agents that learn to learn by their memory, or by where they start."""
