"""Speed of prefill and decode, and the machine's measured limits that it is compared with."""
