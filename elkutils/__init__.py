"""Bayesian reporters: probes on a network's activations that draw probabilities.

Data flows one way: ``tasks`` define what is asked, ``models`` read a frozen network,
``reporters`` turn activations into draws of probabilities, ``evaluation`` scores them,
``plots`` and ``ledger`` show and record the result. Only ``models`` imports torch.
"""

from importlib.metadata import version

__version__ = version("elkutils")
