"""The pages of the app, a flat script each; what they share stands in `pages.kit`."""
