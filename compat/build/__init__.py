"""From configuration objects to live ones: joins the folders of the engine."""

from compat.build.world import World, build

__all__ = ["World", "build"]
