"""Commands about operators: who they are, what they did, and the texts they publish."""
