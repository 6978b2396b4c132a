"""The way out: routers, chains, hops, nodes, selection, name resolution."""
