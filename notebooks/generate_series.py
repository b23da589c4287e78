"""Seeded series of many kinds, with anomalies put in: the only data the shipped model learns from.

Writes `series_id,timestamp,kind,n,s1,s2,series_kind,label` as `features_csv` (an example of
geophone-engine) reads it. One row is one window's sums. `label`: 1 anomalous, 0 normal, -1 undecided
(just after an anomaly, or a change to the harmless side): such rows are neither learnt nor judged.

Families "seen" are for training, "unseen" for judging: other shapes of traffic, noise and levels.
"""

import sys

import numpy as np

WINDOWS = 1300
WINDOW_S = 10
FIRST = 240  # no anomaly before this window
SEEN = ("count", "share", "log_mean", "level_ar", "level_season", "level_walk", "level_steps")
UNSEEN = ("count_bursty", "share_drifting", "log_mean_bimodal", "level_saw", "level_heavy", "level_percent")


def daily(rng, t):
    """A factor around 1 with one or two harmonics and a slow trend."""
    period = rng.uniform(500, 6000)
    wave = rng.uniform(0, 0.6) * np.sin(2 * np.pi * (t / period + rng.uniform()))
    wave += rng.uniform(0, 0.2) * np.sin(4 * np.pi * (t / period + rng.uniform()))
    return np.exp(wave + rng.uniform(-0.3, 0.3) * t / len(t))


def autoregressive(rng, size, phi, scale, heavy=False):
    noise = rng.standard_t(3, size) / 1.7 if heavy else rng.normal(0, 1, size)
    out = np.empty(size)
    last = 0.0
    for place in range(size):
        last = phi * last + np.sqrt(1 - phi * phi) * noise[place]
        out[place] = last
    return out * scale


def episodes(rng, size):
    """Where anomalies lie: up to three, apart from each other."""
    found, at = [], FIRST + int(rng.integers(0, 250))
    while at < size - 80 and len(found) < 3:
        short = rng.uniform() < 0.3
        length = int(rng.integers(1, 4)) if short else int(rng.integers(6, 70))
        found.append((at, min(length, size - at - 5)))
        at += length + int(rng.integers(150, 450))
    return found if rng.uniform() < 0.85 else []


def shape(rng, length):
    """How an anomaly grows: at once, as a ramp, or coming and going."""
    form = rng.choice(["step", "step", "ramp", "pulses"]) if length > 5 else "step"
    if form == "ramp":
        return np.linspace(0.15, 1, length)
    if form == "pulses":
        return (np.arange(length) % int(rng.integers(2, 5)) < 2).astype(float)
    return np.ones(length)


def mark(label, at, length, value=1):
    label[at : at + length] = value
    after = label[at + length : at + length + 24]
    after[after == 0] = -1


def counts(rng, t, bursty=False):
    rate = np.exp(rng.uniform(np.log(0.05), np.log(400))) * daily(rng, t)
    if bursty:
        rate = rate * np.exp(autoregressive(rng, len(t), rng.uniform(0.5, 0.95), rng.uniform(0.2, 0.6)))
    elif rng.uniform() < 0.5:
        rate = rate * rng.gamma(k := rng.uniform(4, 60), 1 / k, len(t))
    label = np.zeros(len(t), int)
    series_kind = str(rng.choice(["request_rate", "edge_rate", "log_rate", "metric_rate"]))
    for at, length in episodes(rng, len(t)):
        part = shape(rng, length)
        down = rng.uniform() < 0.6 and series_kind != "log_rate"
        seen = rate[at : at + length].mean() * length
        if down:
            factor = 1 - part * rng.uniform(0.4, 1.0)
            visible = seen > 8
        else:
            factor = 1 + part * np.exp(rng.uniform(np.log(0.8), np.log(12)))
            visible = seen * (factor.mean() - 1) > 6
        rate[at : at + length] *= factor
        harmless = not down and series_kind in ("request_rate", "edge_rate")
        mark(label, at, length, 1 if visible and not harmless else -1)
    n = rng.poisson(rate).astype(float)
    return "count", n, n, np.zeros(len(t)), series_kind, label


def shares(rng, t, drifting=False):
    rate = np.exp(rng.uniform(np.log(0.5), np.log(300))) * daily(rng, t)
    p = np.full(len(t), float(rng.choice([0.0, 0.0, rng.uniform(0, 0.01), rng.uniform(0, 0.1)])))
    if drifting:
        p = np.clip(p + 0.01 + autoregressive(rng, len(t), 0.98, 0.006), 0, 1)
    label = np.zeros(len(t), int)
    for at, length in episodes(rng, len(t)):
        rise = shape(rng, length) * np.exp(rng.uniform(np.log(0.04), np.log(0.9)))
        p[at : at + length] = np.clip(p[at : at + length] + rise, 0, 1)
        hits = (rate[at : at + length] * rise).sum()
        mark(label, at, length, 1 if hits > 4 else -1)
    n = rng.poisson(rate)
    return "share", n.astype(float), rng.binomial(n, p).astype(float), np.zeros(len(t)), str(rng.choice(["error_ratio", "edge_error_ratio"])), label


def durations(rng, t, bimodal=False):
    rate = np.exp(rng.uniform(np.log(0.3), np.log(200))) * daily(rng, t)
    centre = rng.uniform(-8, 1) + autoregressive(rng, len(t), 0.97, rng.uniform(0, 0.08)) + 0.1 * np.log(daily(rng, t))
    sigma = rng.uniform(0.15, 1.0)
    label = np.zeros(len(t), int)
    slow = np.zeros(len(t))
    for at, length in episodes(rng, len(t)):
        rise = shape(rng, length) * np.exp(rng.uniform(np.log(0.25), np.log(4)))
        slow[at : at + length] = rise
        n = rate[at : at + length].sum()
        sure = n > 3 and (rise.mean() / sigma) * np.sqrt(n) > 5
        mark(label, at, length, 1 if sure else -1)
    n = rng.poisson(rate)
    mean, spread = np.zeros(len(t)), np.zeros(len(t))
    for place in np.nonzero(n)[0]:
        some = rng.normal(0, sigma, min(n[place], 60))
        if bimodal:
            some = some + np.where(rng.uniform(size=len(some)) < 0.3, 1.5, 0)
        elif rng.uniform() < 0.1:
            some[0] += rng.exponential(1.5)
        mean[place], spread[place] = some.mean(), (some**2).mean() - some.mean() ** 2
    value = centre + slow + mean
    kind = str(rng.choice(["duration_p50", "exclusive_time", "edge_gap"]))
    return "log_mean", n.astype(float), n * value, n * (value**2 + spread), kind, label


def level_base(rng, t, family):
    size = len(t)
    if family == "level_ar":
        return autoregressive(rng, size, rng.uniform(0, 0.95), 1.0)
    if family == "level_season":
        return 4 * np.log(daily(rng, t)) + autoregressive(rng, size, rng.uniform(0, 0.8), rng.uniform(0.1, 0.6))
    if family == "level_walk":
        return np.cumsum(rng.normal(0, 0.05, size)) + rng.normal(0, rng.uniform(0.2, 1), size)
    if family == "level_steps":
        jumps = (rng.uniform(size=size) < 0.004) * rng.normal(0, 3, size)
        return np.cumsum(jumps) * 0.5 + rng.normal(0, 1, size)
    if family == "level_saw":
        period = rng.integers(30, 200)
        return (t % period) / period * rng.uniform(1, 4) + rng.normal(0, 0.3, size)
    if family == "level_heavy":
        return autoregressive(rng, size, rng.uniform(0, 0.7), 1.0, heavy=True)
    base = 1 / (1 + np.exp(-(rng.uniform(-3, 1) + autoregressive(rng, size, 0.9, 0.5) + np.log(daily(rng, t)))))
    return np.round(base * 100) / 10


def levels(rng, t, family):
    value = level_base(rng, t, family)
    # Scale of what cannot be foreseen from one window to the next.
    noise = max(1.4826 * float(np.median(np.abs(np.diff(value)))), 0.3 * float(np.std(value)), 1e-3)
    label = np.zeros(len(t), int)
    missing = np.zeros(len(t), bool)
    for at, length in episodes(rng, len(t)):
        what = rng.choice(["shift", "shift", "shift", "variance", "flat", "missing"]) if length > 8 else "shift"
        here = slice(at, at + length)
        if what == "shift":
            size = np.exp(rng.uniform(np.log(2.5), np.log(25))) * (1.6 if length < 4 else 1.0)
            value[here] += shape(rng, length) * size * noise * rng.choice([-1, 1])
        elif what == "variance":
            value[here] += rng.normal(0, rng.uniform(3, 8) * noise, length)
        elif what == "flat":
            value[here] = value[at]
        else:
            missing[here] = True
        mark(label, at, length, 1 if what in ("shift", "variance") else -1)
    scale, offset = np.exp(rng.uniform(-5, 8)), rng.normal(0, 20)
    value = (value + offset) * scale
    n = (~missing).astype(float)
    value = np.where(missing, 0, value)
    return "level", n, value, value**2, "value", label


def series(rng, family, t):
    if family.startswith("count"):
        return counts(rng, t, family.endswith("bursty"))
    if family.startswith("share"):
        return shares(rng, t, family.endswith("drifting"))
    if family.startswith("log_mean"):
        return durations(rng, t, family.endswith("bimodal"))
    return levels(rng, t, family)


def write(out, seed, families, each):
    """Writes `each` series of every family."""
    out.write("series_id,timestamp,kind,n,s1,s2,series_kind,label\n")
    t = np.arange(WINDOWS)
    for place, family in enumerate(families):
        for number in range(each):
            rng = np.random.Generator(np.random.PCG64([seed, place, number]))
            kind, n, s1, s2, series_kind, label = series(rng, family, t)
            for at in range(WINDOWS):
                out.write(f"{family}-{number},{at * WINDOW_S},{kind},{n[at]:.0f},{s1[at]:.9g},{s2[at]:.9g},{series_kind},{label[at]}\n")


if __name__ == "__main__":
    part, seed, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    write(sys.stdout, seed, SEEN if part == "seen" else UNSEEN, each)
