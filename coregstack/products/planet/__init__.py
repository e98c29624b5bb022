"""Planet's products: names, bundles and metadata of items."""
