"""The bundled simulations."""

from __future__ import annotations

from pathlib import Path

__all__ = ["SIMULATIONS"]

SIMULATIONS = Path(__file__).parent / "simulations"
