"""Certificates: radii within which no input at all changes a network's answer."""

from retemper.certification.bound import lipschitz_bound
from retemper.certification.certificates import Certificates, certify

__all__ = ["Certificates", "certify", "lipschitz_bound"]
