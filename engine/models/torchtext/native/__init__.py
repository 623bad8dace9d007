"""Python stand-ins for the compiled half of torchtext 0.18, which was built for torch 2.3 alone.

They give what the compiled classes give for the vocabularies and tokenizers of the XLM-R and RoBERTa bundles;
`engine.models.torchtext.bridge` puts them where torchtext looks for its own.
"""

MODULE = "torchtext._torchtext"
"""Where the compiled classes live: pickles of vocabularies name their class by it."""
