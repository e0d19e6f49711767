FROM everything


