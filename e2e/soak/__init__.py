"""Load for as long as one likes on one connector, whose platform fails now and then: nothing of it may grow."""
