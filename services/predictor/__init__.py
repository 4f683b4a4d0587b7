"""The predictor: answers predictions over HTTP with the champion of each model, and follows every promotion."""
