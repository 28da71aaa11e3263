"""evaluate: x"""
