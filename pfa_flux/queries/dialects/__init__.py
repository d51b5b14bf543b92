"""The dialects in which the same counts are asked for."""
