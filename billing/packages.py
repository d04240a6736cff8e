"""The amounts in which credit is sold. Bought credit never expires."""

PACKAGES_USD = (5, 20, 100, 500)
