"""What callbacks say to the browser."""

from functools import partial

from dash import ClientsideFunction

browser = partial(ClientsideFunction, "assay")
"""A function of ``assets/assay.js`` by its name."""

HIDDEN = {"display": "none"}
