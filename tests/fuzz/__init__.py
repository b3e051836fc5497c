"""What comes from outside, tried with tens of thousands of odd inputs: `make fuzz`, and a few in `make test`."""
