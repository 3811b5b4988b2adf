"""What people and operators do, without HTTP and without SQL text."""
