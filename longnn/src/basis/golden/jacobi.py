"""Jacobi polynomials and Gauss-Jacobi quadrature at 50 digits, for the tests of `basis`.

Everything comes from closed forms (the explicit sum of products of binomials, its derivative, the
textbook weights), so that it shares no recurrence with the code that it checks.

    pip install mpmath scipy && python3 jacobi.py > jacobi.json
"""

import json

import mpmath
from mpmath import mp, mpf
from scipy.special import roots_jacobi

mp.dps = 80

EXPONENTS = [
    (0.0, 0.0), (-0.5, -0.5), (0.5, 0.5), (1.0, 1.0), (2.0, -0.25), (2.9, 5.7), (10.0, 10.0),
    (10.0, -0.95), (-0.8, 0.9), (-0.5, -0.75), (-0.25, -0.75), (-0.9, -0.95), (-0.995, 4.0),
    (-0.999, -0.998),
]
ORDERS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25, 30]
POINTS = [-1.0, -0.9999, -0.98, -0.75, -0.3, 0.0, 0.4, 0.7, 0.9, 0.995, 1.0]
N_NODES = 32


def binomial(top, k):
    product = mpf(1)
    for i in range(k):
        product *= (top - i) / (i + 1)
    return product


def jacobi(n, a, b, x):
    low, high = (x - 1) / 2, (x + 1) / 2
    return mp.fsum(
        binomial(n + a, n - s) * binomial(n + b, s) * low**s * high ** (n - s) for s in range(n + 1)
    )


def largest(n, a, b):
    """max |P_n| over [-1, 1]: at an end, or where the weight's peak lies if both exponents < -1/2."""
    grid = [mp.cos(mp.pi * i / 400) for i in range(401)]
    return max(abs(jacobi(n, a, b, x)) for x in grid)


def norm(n, a, b):
    """h_n with the pole of Γ(n+a+b+1) at n = 0 cancelled."""
    if n == 0:
        return 2 ** (a + b + 1) * mp.gamma(a + 1) * mp.gamma(b + 1) / mp.gamma(a + b + 2)
    ratio = mp.gamma(n + a + 1) * mp.gamma(n + b + 1) / mp.gamma(n + a + b + 1) / mp.factorial(n)
    return 2 ** (a + b + 1) / (2 * n + a + b + 1) * ratio


def quadrature(a, b):
    """Nodes are roots of P_n by Newton's method from scipy's; weights by the classical formula."""
    n = N_NODES
    nodes, weights = [], []
    scale = 2 ** (a + b + 1) * mp.gamma(n + a + 1) * mp.gamma(n + b + 1)
    scale /= mp.gamma(n + a + b + 1) * mp.factorial(n)
    for start in roots_jacobi(n, float(a), float(b))[0]:
        x = mpf(float(start))
        for _ in range(6):
            slope = (n + a + b + 1) / 2 * jacobi(n - 1, a + 1, b + 1, x)
            x -= jacobi(n, a, b, x) / slope
        slope = (n + a + b + 1) / 2 * jacobi(n - 1, a + 1, b + 1, x)
        nodes.append(x)
        weights.append(scale / ((1 - x * x) * slope**2))
    assert all(low < high for low, high in zip(nodes, nodes[1:])), (a, b)
    return nodes, weights


def case(a, b):
    exact = mpf(a), mpf(b)
    nodes, weights = quadrature(*exact)
    total = mp.fsum(weights)
    assert abs(total / norm(0, *exact) - 1) < mpf(10) ** -40, (a, b)
    return {
        "a": a,
        "b": b,
        "norms": [float(norm(n, *exact)) for n in ORDERS],
        "largest": [float(largest(n, *exact)) for n in ORDERS],
        "values": [[float(jacobi(n, *exact, mpf(x))) for x in POINTS] for n in ORDERS],
        "nodes": [float(x) for x in nodes],
        "weights": [float(w) for w in weights],
    }


rows = ",\n  ".join(json.dumps(case(a, b)) for a, b in EXPONENTS)
print(f'{{"orders": {ORDERS}, "points": {POINTS},\n "cases": [\n  {rows}\n]}}')
