"""Who may use a service: users and passwords."""

from gostpy.auth.authenticator import Authenticator, Group, read_users

__all__ = ["Authenticator", "Group", "read_users"]
