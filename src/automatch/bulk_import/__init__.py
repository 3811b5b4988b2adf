"""Import of people from a CSV list, and the list of its refused rows."""
