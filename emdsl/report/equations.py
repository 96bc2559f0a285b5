"""Equations as sympy objects (first version)."""
import sympy as sp


def update_equation(update, name, plan):
    return sp.Symbol(name)


def statistic_equation(statistic, plan):
    return sp.Symbol(statistic.name)
