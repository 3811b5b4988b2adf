"""People: what they tell about themselves, their schools, and what operators do for them."""
