"""The services of Fiveshot. A service never imports another service; what they share is `services.chassis`."""
