"""What the services share: events, the bus, the bundle, the registry, settings and errors."""
