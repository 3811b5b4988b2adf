"""Photos: their faces and files, challenges, and who was shown which."""
