"""Oracle: the mathematics in plain loops over Python numbers.

Nothing here is fast and nothing here is shared with the code under test.  A
matrix is a list of rows; every function takes one problem, array-likes are
turned into lists of Python numbers first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

Vector = list[float]
Matrix = list[list[complex]]


def numbers(array: Any) -> Any:
    """Nested lists of Python numbers from an array, a nested list or a number."""
    return array.tolist() if hasattr(array, "tolist") else array


def adjoint(a: Matrix) -> Matrix:
    return [[complex(row[j]).conjugate() for row in a] for j in range(len(a[0]))]


def multiply(a: Matrix, b: Matrix) -> Matrix:
    product = []
    for row in a:
        line = []
        for j in range(len(b[0])):
            total = 0j
            for i in range(len(b)):
                total += row[i] * b[i][j]
            line.append(total)
        product.append(line)
    return product


def frobenius(a: Matrix) -> float:
    """Squared Frobenius norm."""
    return sum(abs(x) ** 2 for row in a for x in row)


def scaled(a: Matrix, power: float, carrier: Matrix) -> Matrix:
    """``a`` times the positive number that brings the squared norm of ``carrier`` to ``power``."""
    norm = frobenius(carrier)
    gain = math.sqrt(power / norm) if norm > 0 else 0.0
    return [[gain * x for x in row] for row in a]


def solve(a: Matrix, b: Matrix) -> Matrix:
    """X with A X = B, by Gauss elimination with row exchanges."""
    n = len(a)
    work = [[complex(x) for x in a[i]] + [complex(x) for x in b[i]] for i in range(n)]
    for column in range(n):
        pivot = max(range(column, n), key=lambda i: abs(work[i][column]))
        work[column], work[pivot] = work[pivot], work[column]
        for i in range(n):
            if i == column:
                continue
            factor = work[i][column] / work[column][column]
            for j in range(column, len(work[i])):
                work[i][j] -= factor * work[column][j]
    return [[work[i][j] / work[i][i] for j in range(n, len(work[i]))] for i in range(n)]


def identity(n: int) -> Matrix:
    return [[1.0 + 0j if i == j else 0j for j in range(n)] for i in range(n)]


def effective_channel(channel: Any, amplitudes: Any, phase: Any) -> Matrix:
    """G = H diag(m) Phi."""
    h, m, phi = numbers(channel), numbers(amplitudes), numbers(phase)
    result = []
    for row in h:
        line = []
        for feed in range(len(phi[0])):
            total = 0j
            for n in range(len(m)):
                total += row[n] * m[n] * phi[n][feed]
            line.append(total)
        result.append(line)
    return result


def radiating(amplitudes: Any, phase: Any) -> Matrix:
    """B = diag(m) Phi, from feeds to elements."""
    m, phi = numbers(amplitudes), numbers(phase)
    return [[m[n] * x for x in phi[n]] for n in range(len(m))]


def used_power(digital: Any, amplitudes: Any = None, phase: Any = None) -> float:
    """Power of V: ``digital`` convention, or ``radiated`` when the surface is given."""
    v = numbers(digital)
    return frobenius(v) if phase is None else frobenius(multiply(radiating(amplitudes, phase), v))


def received_sinr(effective: Any, digital: Any, noise_power: float) -> Vector:
    """SINR of every user from G and V."""
    g, v = numbers(effective), numbers(digital)
    ratios = []
    for k in range(len(g)):
        gains = []
        for j in range(len(g)):
            total = 0j
            for feed in range(len(v)):
                total += g[k][feed] * v[feed][j]
            gains.append(abs(total) ** 2)
        disturbance = noise_power
        for j, gain in enumerate(gains):
            if j != k:
                disturbance += gain
        ratios.append(gains[k] / disturbance)
    return ratios


def weighted_rate(ratios: Vector, weights: Any = None) -> float:
    alpha = [1.0] * len(ratios) if weights is None else numbers(weights)
    total = 0.0
    for k, ratio in enumerate(ratios):
        total += alpha[k] * math.log1p(ratio) / math.log(2.0)
    return total


def sinr(channel: Any, amplitudes: Any, phase: Any, digital: Any, noise_power: float) -> Vector:
    return received_sinr(effective_channel(channel, amplitudes, phase), digital, noise_power)


def sum_rate(
    channel: Any,
    amplitudes: Any,
    phase: Any,
    digital: Any,
    noise_power: float,
    weights: Any = None,
) -> float:
    return weighted_rate(sinr(channel, amplitudes, phase, digital, noise_power), weights)


def slope(function: Callable[[float], float], step: float) -> float:
    """Derivative at zero by the central difference of sixth order."""
    stencil = ((1, 45.0), (2, -9.0), (3, 1.0))
    total = 0.0
    for shift, coefficient in stencil:
        total += coefficient * (function(shift * step) - function(-shift * step))
    return total / (60.0 * step)


def rate_slope(
    channel: Any,
    amplitudes: Any,
    phase: Any,
    digital: Any,
    noise_power: float,
    weights: Any,
    d_amplitudes: Any,
    d_digital: Any,
    step: float = 1e-3,
) -> float:
    """Derivative of the sum rate along (d_amplitudes, d_digital), by differences."""
    m, v = numbers(amplitudes), numbers(digital)
    dm, dv = numbers(d_amplitudes), numbers(d_digital)

    def along(t: float) -> float:
        moved = [m[n] + t * dm[n] for n in range(len(m))]
        turned = [[v[i][k] + t * dv[i][k] for k in range(len(v[0]))] for i in range(len(v))]
        return sum_rate(channel, moved, phase, turned, noise_power, weights)

    return slope(along, step)


def sum_rate_gradient(
    channel: Any,
    amplitudes: Any,
    phase: Any,
    digital: Any,
    noise_power: float,
    weights: Any = None,
    step: float = 1e-3,
) -> tuple[Vector, Matrix]:
    """Gradients in m and V (g with dR = Re sum conj(g) dx), one coordinate after the other."""
    count, feeds, users = len(numbers(amplitudes)), len(numbers(digital)), len(numbers(channel))
    still = [[0j] * users for _ in range(feeds)]

    def along(dm: Vector, dv: Matrix) -> float:
        return rate_slope(channel, amplitudes, phase, digital, noise_power, weights, dm, dv, step)

    def unit(feed: int, user: int, value: complex) -> Matrix:
        return [
            [value if (i, k) == (feed, user) else 0j for k in range(users)] for i in range(feeds)
        ]

    d_amplitudes = [
        along([1.0 if i == n else 0.0 for i in range(count)], still) for n in range(count)
    ]
    rest = [0.0] * count
    d_digital = [
        [
            complex(along(rest, unit(i, k, 1 + 0j)), along(rest, unit(i, k, 1j)))
            for k in range(users)
        ]
        for i in range(feeds)
    ]
    return d_amplitudes, d_digital


def zero_forcing(effective: Any, power: float) -> Matrix:
    """G^H (G G^H)^-1 scaled to the power, for G of full row rank."""
    g = numbers(effective)
    inverse = solve(multiply(g, adjoint(g)), identity(len(g)))
    v = multiply(adjoint(g), inverse)
    return scaled(v, power, v)


def zero_forcing_cost(channel: Any, amplitudes: Any, phase: Any, radiated: bool) -> Matrix:
    """M: received powers q served by zero forcing cost sum_k q_k M_kk."""
    g = effective_channel(channel, amplitudes, phase)
    back = adjoint(g)
    if radiated:
        b = radiating(amplitudes, phase)
        back = solve(multiply(adjoint(b), b), back)
    return solve(multiply(g, back), identity(len(g)))


def zero_forcing_rate(
    channel: Any,
    amplitudes: Any,
    phase: Any,
    power: float,
    noise_power: float,
    weights: Any = None,
    min_rate: Any = None,
    radiated: bool = True,
) -> float:
    """Best weighted sum rate of zero forcing at these amplitudes, powers by water filling."""
    cost = zero_forcing_cost(channel, amplitudes, phase, radiated)
    received, _ = water_filling(
        [cost[k][k].real for k in range(len(cost))], power, noise_power, weights, min_rate
    )
    return weighted_rate([q / noise_power for q in received], weights)


def equal_zero_forcing_rate(
    channel: Any,
    amplitudes: Any,
    phase: Any,
    power: float,
    noise_power: float,
    radiated: bool = True,
) -> float:
    """S log2(1 + P / (sigma^2 tr M)): zero forcing with equal received powers."""
    cost = zero_forcing_cost(channel, amplitudes, phase, radiated)
    trace = sum(cost[k][k].real for k in range(len(cost)))
    return len(cost) * math.log1p(power / (noise_power * trace)) / math.log(2.0)


def project(
    amplitudes: Any, phase: Any, precoder: Any, power: float, radiated: bool = True
) -> Matrix:
    """Least squares of diag(m) Phi V against W, then the power; full column rank."""
    b, w = radiating(amplitudes, phase), numbers(precoder)
    v = solve(multiply(adjoint(b), b), multiply(adjoint(b), w))
    return scaled(v, power, multiply(b, v) if radiated else v)


def matched(effective: Any, power: float) -> Matrix:
    """Column k is g_k^H / |g_k| at power P / K."""
    g = numbers(effective)
    users, dimensions = len(g), len(g[0])
    v = [[0j] * users for _ in range(dimensions)]
    for k in range(users):
        norm = math.sqrt(sum(abs(x) ** 2 for x in g[k]))
        for i in range(dimensions):
            if norm > 0:
                v[i][k] = complex(g[k][i]).conjugate() / norm * math.sqrt(power / users)
    return v


def wmmse(
    effective: Any, power: float, noise_power: float, weights: Any = None, iterations: int = 100
) -> Matrix:
    """WMMSE sweeps from the matched start, at the end scaled to the power."""
    g = numbers(effective)
    users, dimensions = len(g), len(g[0])
    alpha = [1.0] * users if weights is None else numbers(weights)
    v = matched(g, power)
    for _ in range(iterations):
        noise = noise_power / power * frobenius(v)
        a, target = [], []
        for k in range(users):
            received = multiply([g[k]], v)[0]
            disturbance = noise
            for j in range(users):
                if j != k:
                    disturbance += abs(received[j]) ** 2
            total = disturbance + abs(received[k]) ** 2
            u = received[k] / total
            w = total / disturbance
            a.append(alpha[k] * w * abs(u) ** 2)
            target.append(alpha[k] * w * u)
        system = [[0j] * dimensions for _ in range(dimensions)]
        right = [[0j] * users for _ in range(dimensions)]
        for i in range(dimensions):
            for k in range(users):
                right[i][k] = complex(g[k][i]).conjugate() * target[k]
                for j in range(dimensions):
                    system[i][j] += complex(g[k][i]).conjugate() * a[k] * g[k][j]
            system[i][i] += noise_power / power * sum(a)
        v = solve(system, right)
    return scaled(v, power, v)


def water_filling(
    cost: Any, power: float, noise_power: float, weights: Any = None, min_rate: Any = None
) -> tuple[Vector, bool]:
    """Received powers and whether the floors fit; the water level by bisection."""
    costs = numbers(cost)
    users = range(len(costs))
    alpha = [1.0 for _ in users] if weights is None else numbers(weights)
    rates = [0.0 for _ in users] if min_rate is None else numbers(min_rate)
    floors = [(2.0 ** rates[k] - 1.0) * noise_power for k in users]
    needed = sum(floors[k] * costs[k] for k in users)
    if needed > power:
        return [floors[k] * power / needed for k in users], False

    def filled(level: float) -> Vector:
        return [max(floors[k], alpha[k] * level / costs[k] - noise_power, 0.0) for k in users]

    def spent(level: float) -> float:
        return sum(q * c for q, c in zip(filled(level), costs, strict=True))

    low, high = 0.0, 1.0
    while spent(high) < power:
        high *= 2.0
    for _ in range(2000):
        middle = 0.5 * (low + high)
        if middle in (low, high):
            break
        low, high = (middle, high) if spent(middle) < power else (low, middle)
    return filled(low), True
