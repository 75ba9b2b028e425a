"""Trials that are measured, and perhaps ended, before their full length."""
