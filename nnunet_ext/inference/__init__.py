"""The predictor that everything predicts with: fast, and its memory does not grow with classes x volume."""
