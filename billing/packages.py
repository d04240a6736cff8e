"""In which amounts credit is sold. What was bought never expires."""

PACKAGES_USD = (5, 20, 100, 500)
