"""The process that measures: its protocol, the requests it answers, and the lock of the machine."""
