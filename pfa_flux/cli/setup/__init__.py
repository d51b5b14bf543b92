"""Commands that set pfa-flux up."""
