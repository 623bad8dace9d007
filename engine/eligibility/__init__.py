"""What torch will do with an encoder and a call, judged from plain facts before anything risky runs."""
