"""Says what logged rollouts would have been worth under another judge, rubric, calibration or formula."""
