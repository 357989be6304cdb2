"""Learned policy optimisation: a learned drift in PPO's place of a clip."""
