"""Tenancy knows the teams: their keys, their priority classes and their quotas."""
