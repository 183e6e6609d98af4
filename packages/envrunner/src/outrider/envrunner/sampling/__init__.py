"""Steps environments with policies, and writes down what happens as fragments and episodes."""
