"""The trainer on a machine with so little memory that decoded images have to stay on the scratch volume."""

import sys

from model_trainer import machine, main

machine.memory_bytes = lambda *_: 1 << 20

if __name__ == "__main__":
    sys.exit(main.main())
