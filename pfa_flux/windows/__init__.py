"""Windows of time: what raw rows make of them, what is stored of them, and making the one the other."""
