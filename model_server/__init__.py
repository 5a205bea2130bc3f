"""The serving pod: the agent that fetches servables and the runtime that answers predictions."""
