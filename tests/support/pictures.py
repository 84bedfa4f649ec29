"""A picture of an alert that is asked for at any time, and what a PNG shows."""

import io

import numpy as np
from carbyne.alerts.pictures import PARAMETER, PATH, Picture, path_of
from carbyne.alerts.plots import plot_of
from PIL import Image

SECRET = b"p" * 32
NOW_S = 1_700_000_000
LATE_S = 2**33


def samples(*values, step_s=60):
    """Of the last minutes, the last one now."""
    first_s = NOW_S - step_s * (len(values) - 1)
    return [((first_s + step_s * number) * 1000, value) for number, value in enumerate(values)]


def picture(*values, **changed):
    """One of these values, of all minutes until now."""
    fields = {"title": "loadavg5 on web", "operator": ">", "warning": None, "critical": None, "opened_s": NOW_S}
    return Picture(**{"plot": plot_of(samples(*values)), **fields, "closed_s": None, "expires_s": LATE_S, **changed})


PICTURE_URL = path_of(picture(1.0, 2.0, 4.0), SECRET)
PICTURE_PATH, _, PICTURE_QUERY = PICTURE_URL.partition("?")
assert (PICTURE_PATH, PICTURE_QUERY.partition("=")[0]) == (PATH, PARAMETER)


def pixels(data):
    """[rows, columns, RGBA] of a PNG, by another library than the one that drew it."""
    with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
        image.load()
        return np.asarray(image.convert("RGBA")).astype(int)
