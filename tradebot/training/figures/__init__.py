"""Pictures of a training, as PNG files, drawn here: no plotting library to need."""
