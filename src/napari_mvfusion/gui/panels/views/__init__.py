"""The Views & PSFs panel: which layers are views, what their PSFs are like, and what is wrong with them."""
