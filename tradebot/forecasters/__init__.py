"""Model families, one module each. The only room that imports LightGBM or torch."""
