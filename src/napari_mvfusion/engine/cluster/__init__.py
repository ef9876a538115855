"""Fusing on several processes or computers, through Dask; nothing here is loaded unless a cluster is asked for."""
