"""From uploaded bytes to pixels, in a sandboxed child process with limits."""
