"""The pages of the app, one flat script each; what they share is in `pages.kit`."""
