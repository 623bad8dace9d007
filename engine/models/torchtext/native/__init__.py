"""Python replacements for the compiled half of torchtext 0.18, which was built for torch 2.3 only.

For the vocabularies and tokenizers of the XLM-R and RoBERTa bundles they give the same results as the compiled classes.
`engine.models.torchtext.bridge` puts them in their place.
"""

MODULE = "torchtext._torchtext"
"""Module of the compiled classes. Pickles of vocabularies contain this name."""
