"""The measuring process: its protocol, the requests it answers, and the machine's lock."""
