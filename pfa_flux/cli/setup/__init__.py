"""Commands that set up pfa-flux."""
