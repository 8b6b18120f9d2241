"""agent/compile"""
